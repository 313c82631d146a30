"""Adding up what people said: scores of texts, skills of people.

    comparisons     the arrays that are read
    davidson        the model of one comparison that may be tied
    bradley_terry   scores of texts, skill, side bias and ties of annotators, with standard errors
    majority        votes on each pair, without a model
    rankings        rankings as comparisons
    ratings         means of texts, freed of how generous their raters are
    spammers        who answers without regard to the texts

Everything here is a function of arrays and can be computed again from the judgements. Needs scipy,
from the extra `feedback`.
"""
