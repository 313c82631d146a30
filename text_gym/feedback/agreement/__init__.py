"""How far people agree, and how sure that is.

    krippendorff    Krippendorff's alpha, for names, places and numbers, with an interval
    pairwise        the share of pairs of answers that are equal, of all and of each person

Everything here is a function of arrays: which unit was judged, and what was said. Needs numpy
alone.
"""
