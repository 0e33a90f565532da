"""How long purges of a cluster's caches are told, and to whom they may be lost.

Read by the operator, which deletes old purges, and by agents, which were away meanwhile.
"""

PURGE_LIFE_S = 900.0
"""A purge is told so long from its creation; nodes that come back within it hear of it."""
AWAY_S = 600.0
"""A node that heard nothing for so long may have missed purges: it forgets all that it keeps. Shorter than
their life by more than what clocks differ, and than it takes to notice a broken stream."""
ALL = "*"
"""The target that names all answers of a namespace."""
