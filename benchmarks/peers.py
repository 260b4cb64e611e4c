"""The programs that can be compared, by the names that options take."""

from programs import Borg, Borg2, FastBorg, FastRestic, FastStrongroom, Peer, Restic, Strongroom
from rust_peers import Bupstash, Rustic

DEFAULT = [Strongroom.name, Borg.name, Restic.name]
PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (Strongroom, Borg, Borg2, Restic, Rustic, Bupstash, FastStrongroom, FastBorg, FastRestic)
}
