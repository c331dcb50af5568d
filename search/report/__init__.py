"""The report: a study and its finished run as one HTML page, and the essentials as Markdown.

A report is made in two steps. `gather` reads a stored study, and a run's folder if there is one,
into a frozen `ReportData`; `html` and `markdown` only render that.

The charts are inline SVG, written by this package. Plotly was the alternative: its full bundle adds
4.6 MB to every page (its small bundles lack parallel coordinates), needs JavaScript, prints badly,
and does not take its colours from CSS. Inline SVG keeps a page in the tens or hundreds of
kilobytes, follows dark mode through CSS variables, prints sharply, and lets the page forbid all
scripts and network requests in its content security policy.
"""
