"""The pages of a study: what people see, and what protects it.

    shown        a text as a page shows it
    pages        what each page is filled with; the HTML is in `templates`
    plots        the researcher's plots, as SVG
    headers      what every response says to the browser
    hosts        by which names the server may be called, and from which pages forms may come
    bodies       how large and how slow a request may be
    rates        how often somebody may ask
    sessions     who asks: cookies, and the secret in every form
    refusals     how a request is refused: one page, one line of the log

Needs the extra `feedback`.
"""
