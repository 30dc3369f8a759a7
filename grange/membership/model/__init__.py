"""The values of membership and the contract of its table: members, views, votes, messages, options, hash ring. Pure.

Every other sub-room imports it; it imports none of them. Open `member.py` first, then `provider.py`. `votes.py` decides
when votes make a death, by the ages of `observations.py`.
"""
