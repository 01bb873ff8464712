"""A network cut in two at its hidden units, so that units can be set to values without running the first part again.

The cut is made in the graph that ``torch.fx`` traces: what goes into a named module (by default the last dense layer)
are the units, everything behind it is the head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import fx, nn

from faceswap_hq.errors import UserError
from stress.detectors.detector import Detector, fake_logit


class CutNetwork:
    """A detector's network in two parts.

    Args:
        detector: Its network is set to evaluation mode.
        units_into: Module whose input are the units; None for the last dense layer that is run.

    Attributes:
        count: How many units there are, known after :meth:`hidden` was called once.

    Raises:
        UserError: The network cannot be traced, has no such module, or the units are not its only way through.
    """

    def __init__(self, detector: Detector, units_into: str | None = None) -> None:
        self.detector = detector
        module = detector.module.eval()
        try:
            traced = fx.symbolic_trace(module)
        except Exception as error:  # whatever a foreign network does when it is traced
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{detector.name} cannot be cut in two at its units: {reason}.") from error
        self.units_into = units_into or _last_dense(traced, detector.name)
        place = _node(traced, self.units_into, detector.name)
        self._trunk = _trunk(traced, place)
        self._head = _head(traced, place, detector.name)

    @torch.inference_mode()
    def hidden(self, images: np.ndarray, batch: int = 64) -> torch.Tensor:
        """The units' values, (n, units) float32, for (n, S, S, 3) uint8 RGB.

        Raises:
            UserError: The module's input is not one number a unit.
        """
        parts = [self._trunk(self.detector.inputs(images[i : i + batch])) for i in range(0, len(images), batch)]
        found = torch.cat(parts)
        if found.ndim != 2:
            raise UserError(
                f"What goes into {self.units_into} of {self.detector.name} are maps, not units.",
                "Name a dense layer, or a norm behind one.",
            )
        return found.float()

    @torch.inference_mode()
    def logit(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log odds of "fake", (n,) float32, from the units' values, (n, units)."""
        return fake_logit(self._head(hidden).float(), self.detector.card)

    def affine(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Weights (units,) and offset of the head, float64, where its log odds are a weighted sum; otherwise None.

        Found by asking the head about each unit alone, and held against what it says of the values given.
        """
        n = hidden.shape[1]
        offset = self.logit(hidden.new_zeros(1, n))[0].double()
        alone = torch.cat([self.logit(part) for part in torch.eye(n, device=hidden.device).split(256)]).double()
        weights = alone - offset
        guess = hidden.double() @ weights + offset
        true = self.logit(hidden).double()
        fits = bool((guess - true).abs().max() <= 1e-3 * (1 + true.abs().max()))
        return (weights, offset) if fits else None


def _last_dense(traced: fx.GraphModule, name: str) -> str:
    dense = [
        str(node.target)
        for node in traced.graph.nodes
        if node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), nn.Linear)
    ]
    if not dense:
        raise UserError(f"{name} has no dense layer whose inputs could be its units.", "Name a module: --units-into.")
    return dense[-1]


def _node(traced: fx.GraphModule, target: str, name: str) -> fx.Node:
    """What goes into a module."""
    known = {str(node.target): node for node in traced.graph.nodes if node.op == "call_module"}
    if target not in known:
        near = ", ".join(list(known)[-6:])
        raise UserError(f"{name} has no module {target!r}.", f"Its last ones are {near}.")
    source = known[target].args[0]
    assert isinstance(source, fx.Node)
    return source


def _trunk(traced: fx.GraphModule, place: fx.Node) -> fx.GraphModule:
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        copied[node] = graph.node_copy(node, lambda old: copied[old])
        if node is place:
            break
    graph.output(copied[place])
    return fx.GraphModule(traced, graph)


def _head(traced: fx.GraphModule, place: fx.Node, name: str) -> fx.GraphModule:
    graph = fx.Graph()
    copied = {place: graph.placeholder("units")}

    def known(old: fx.Node) -> fx.Node:
        if old not in copied:
            raise UserError(
                f"The units of {name} are not the only way to its output: {old.name} goes around them.",
                "Name a module further behind.",
            )
        return copied[old]

    behind = {place}
    for node in traced.graph.nodes:
        if node is not place and behind.intersection(node.all_input_nodes):
            behind.add(node)
            copied[node] = graph.node_copy(node, known)
    return fx.GraphModule(traced, graph)
