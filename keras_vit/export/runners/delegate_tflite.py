"""What XNNPACK takes of a TFLite file, told by ai_edge_litert's interpreter.

python delegate_tflite.py MODEL.tflite OUT.json

OUT gets `partitions`, the number of parts that XNNPACK runs, and `kernels`, the names of the operators that the
interpreter runs with its own kernels, each as often as it is run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

DELEGATE = "DELEGATE"


def main(model: str, out: str) -> None:
    interpreter = Interpreter(model_path=model)
    interpreter.allocate_tensors()
    # The interpreter does not tell its execution plan, but keeps the replaced nodes and appends one a partition: what
    # is run are the nodes that the outputs need, where a partition goes before the nodes it has replaced.
    nodes = interpreter._get_ops_details()
    makers = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    needed = [int(details["index"]) for details in interpreter.get_output_details()]
    kernels = {}
    seen = set()
    while needed:
        tensor = needed.pop()
        if tensor in makers and tensor not in seen:
            node = makers[tensor]
            needed += [int(source) for source in node["inputs"]]
            if node["op_name"] != DELEGATE:
                kernels[node["index"]] = node["op_name"]
        seen.add(tensor)
    partitions = sum(node["op_name"] == DELEGATE for node in nodes)
    Path(out).write_text(json.dumps({"partitions": partitions, "kernels": [kernels[key] for key in sorted(kernels)]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
