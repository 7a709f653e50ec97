"""The view: what the logs mean. Pure folds over entries; `now` always comes in, no clock is read here.

`freshness` tells the age of what a log says without trusting its clock, `presence` what a member's silence means, `vote`
what one vantage says of a check, `verdict` what the mesh says, `fold` keeps it all per log, `report` shapes it for readers.
"""
