"""Simulated annotators: known rewards and known faults, through the pages of people.

answering   what they answer, given what each text is worth
pages       what a browser without JavaScript has of a page
"""
