"""Whom we may reach: decided by the addresses that we are bound to.

What leads us somewhere (a link, a tracker, a redirect) was written by strangers. As everywhere, an
address is allowed if it is globally routable, or of the scope of our own in its family; a family in
which we have no address is not reached at all.
"""

from collections.abc import Mapping
from typing import Final, Self

from dht.contact import (
    Endpoint,
    Family,
    Scope,
    endpoint,
    family_of,
    host_of,
    is_allowed,
    scope_of,
)

_NEAR: Final = (Scope.LINK_LOCAL, Scope.PRIVATE, Scope.DOCUMENTATION)


class Reach:
    """What follows from our bound addresses."""

    def __init__(self, bound: Mapping[Family, Endpoint]) -> None:
        """Take the addresses in.

        Args:
            bound: Our own address in each family that we have, such as `dht.node.Node.endpoints`;
                the port does not matter. The unspecified address reaches what is global.
        """
        self._bound = dict(bound)
        self._scopes = {
            family: scope_of(at) if any(at[:-2]) else Scope.GLOBAL for family, at in bound.items()
        }

    @classmethod
    def by_proxy(cls, scope: Scope) -> Self:
        """Return what a proxy reaches, which may have addresses in both families.

        Args:
            scope: How far.
        """
        reach = cls({family: Endpoint(bytes(family.endpoint_bytes)) for family in Family})
        reach._scopes = dict.fromkeys(Family, scope)
        return reach

    @property
    def scope(self) -> Scope:
        """The scope by which a link is read, before each of its addresses is judged by itself.

        It is the nearest of ours, since from there the wide world is reached as well; only if all
        of ours are in this machine, nothing else is.
        """
        scopes = set(self._scopes.values())
        if scopes == {Scope.LOOPBACK}:
            return Scope.LOOPBACK
        return next((it for it in _NEAR if it in scopes), Scope.GLOBAL)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that we have an address in, IPv4 first."""
        return tuple(it for it in Family if it in self._bound)

    def scope_towards(self, host: str) -> Scope:
        """Return the scope by which a host is judged before it is resolved.

        For a literal address it is that of our own in its family. A name may mean this machine only
        if we have no address that leads anywhere else.
        """
        try:
            family = family_of(endpoint(host, 0))
        except ValueError:
            return Scope.LOOPBACK if self.scope is Scope.LOOPBACK else Scope.GLOBAL
        return self._scopes.get(family, Scope.GLOBAL)

    def host(self, family: Family) -> str:
        """Return our own address in a family, as text."""
        return host_of(self._bound[family])

    def allows(self, to: Endpoint) -> bool:
        """Tell whether we may send to an endpoint."""
        scope = self._scopes.get(family_of(to))
        return scope is not None and is_allowed(to, scope)
