"""Who works in a generated world: users, and every kind of author that is not one."""

from ledger_pipeline.sources.simulator.world import Actor, ActorKind

USERS = (
    Actor("derekg1729", 58_641_509),
    Actor("ana-lindqvist", 1_204_871),
    Actor("tobiasreed", 7_390_112),
    Actor("mchukwu", 12_806_344),
    Actor("yuki-tanaka", 23_518_907),
    Actor("priyanair", 31_077_265),
    Actor("luc-moreau", 4_486_730),
    Actor("hsolberg", 66_120_498),
    Actor("catarina-dias", 90_355_217),
    Actor("jonas-weiss", 118_240_653),
    Actor("oksana-p", 147_902_386),
    Actor("sam-okafor", 2_019_447),
)
"""The first ones do most of the work, as everywhere."""

DEPENDENCY_BOT = Actor("dependabot", 49_699_333, ActorKind.BOT)
REVIEW_BOT = Actor("cogni-git-review", 201_774_019, ActorKind.BOT)
IMPORTED = Actor("old-tracker-import", 88_013_204, ActorKind.MANNEQUIN)
OWNER = Actor("cogni-dao", 176_530_128, ActorKind.ORGANIZATION)
DELETED = None
