import Foundation
import NeuralNetwork
import Tensors

extension ONNXGraphWriter {
    /// A row of the table for each token.
    mutating func embedding(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        guard let table = try parameter(layer, "weight") else { throw DeMLError(.internal, "embedding has no weight") }
        embeddingWeight = table
        return node("Gather", [table, x], [("axis", .int(0))])
    }

    mutating func tiedLinear(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        guard let table = embeddingWeight else { throw DeMLError(.internal, "tied_linear has no embedding") }
        let product = node("MatMul", [x, node("Transpose", [table], [("perm", .ints([1, 0]))])])
        guard let bias = try parameter(layer, "bias") else { return product }
        return node("Add", [product, bias])
    }

    /// x + P, P being the first rows of the table, or sines and cosines.
    mutating func positions(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        let (length, width) = (layer.input[0], layer.input[1])
        let rows: [Float]
        if let table = layer.parameters["weight"] {
            rows = Array(try table.floats().prefix(length * width))
        } else {
            rows = (0..<length * width).map { index in
                let (position, column) = (index / width, index % width)
                let frequency = PortableMath.exp(-PortableMath.log(10000) * Double(column / 2 * 2) / Double(width))
                let angle = Double(position) * frequency
                return Float(column % 2 == 0 ? Foundation.sin(angle) : Foundation.cos(angle))
            }
        }
        return node("Add", [x, tensor("\(layer.name).weight", [length, width], floats: rows)])
    }

    /// Self-attention, written in products and a softmax.
    mutating func attention(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        let (length, width) = (layer.input[0], layer.input[1])
        let heads = layer.int("num_heads") ?? 1
        let isGPT = layer.options["naming"]?.text == "gpt"
        let names =
            isGPT
            ? ("c_attn.weight", "c_attn.bias", "c_proj.weight", "c_proj.bias")
            : ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        func product(_ value: String, _ weight: String, _ bias: String) throws(DeMLError) -> String {
            guard let matrix = layer.parameters[weight] else {
                throw DeMLError(.internal, "attention has no \(weight)")
            }
            let turned = try ConstantMath.transposed(matrix, [1, 0])
            let result = node(
                "MatMul", [value, tensor("\(layer.name).\(weight)", turned.shape, floats: try turned.floats())])
            guard let shift = try parameter(layer, bias) else { return result }
            return node("Add", [result, shift])
        }
        let all = try product(x, names.0, names.1)
        // [batch, t, 3, heads, d] → three of [batch, heads, t, d].
        let parts = node("Reshape", [all, ints([0, length, 3, heads, width / heads])])
        let sorted = node("Transpose", [parts], [("perm", .ints([2, 0, 3, 1, 4]))])
        func part(_ index: Int) -> String { node("Gather", [sorted, scalar(index)], [("axis", .int(0))]) }
        let query = node("Mul", [part(0), number(1 / Double(width / heads).squareRoot())])
        let key = node("Transpose", [part(1)], [("perm", .ints([0, 1, 3, 2]))])
        var scores = node("MatMul", [query, key])
        if layer.bool("causal", false) {
            let mask = (0..<length * length).map { $0 % length > $0 / length ? -Float.infinity : 0 }
            scores = node("Add", [scores, tensor("\(layer.name).mask", [length, length], floats: mask)])
        }
        let mixed = node("MatMul", [node("Softmax", [scores], [("axis", .int(-1))]), part(2)])
        let together = node("Transpose", [mixed], [("perm", .ints([0, 2, 1, 3]))])
        return try product(node("Reshape", [together, ints([0, length, width])]), names.2, names.3)
    }

    /// lstm and gru: the batch second within, the gates in ONNX's order.
    mutating func recurrence(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        let hidden = layer.int("hidden_size") ?? 1
        let directions = layer.bool("bidirectional", false) ? 2 : 1
        let isLSTM = layer.type == "lstm"
        // torch: i, f, g, o; ONNX: i, o, f, c. torch: r, z, n; ONNX: z, r, h.
        let gates = isLSTM ? [0, 3, 1, 2] : [1, 0, 2]
        func joined(_ parts: [String]) throws(DeMLError) -> (floats: [Float], columns: Int) {
            var floats: [Float] = []
            var columns = 1
            for name in parts {
                guard let tensor = layer.parameters[name] else {
                    floats += [Float](repeating: 0, count: gates.count * hidden)
                    continue
                }
                columns = tensor.shape.count > 1 ? tensor.shape[1] : 1
                floats += ConstantMath.blocks(gates, of: hidden * columns, in: try tensor.floats())
            }
            return (floats, columns)
        }
        let isLast = layer.options["output"]?.text == "last"
        // Of both directions the last states are taken, each after its own last step.
        let takesStates = isLast && directions == 2
        let states = "\(layer.name).states"
        var value = node("Transpose", [x], [("perm", .ints([1, 0, 2]))])
        let count = layer.int("num_layers") ?? 1
        for number in 0..<count {
            let suffixes = ["_l\(number)", "_l\(number)_reverse"].prefix(directions)
            let input = try joined(suffixes.map { "weight_ih" + $0 })
            let state = try joined(suffixes.map { "weight_hh" + $0 })
            let bias = try joined(suffixes.flatMap { ["bias_ih" + $0, "bias_hh" + $0] })
            let rows = gates.count * hidden
            let name = "\(layer.name).l\(number)"
            var attributes: [(String, Attribute)] = [
                ("hidden_size", .int(hidden)), ("direction", .text(directions == 2 ? "bidirectional" : "forward")),
            ]
            if !isLSTM { attributes.append(("linear_before_reset", .int(1))) }
            var inputs = [
                value, tensor(name + ".w", [directions, rows, input.columns], floats: input.floats),
                tensor(name + ".r", [directions, rows, hidden], floats: state.floats),
            ]
            if layer.bool("bias", true) {
                inputs.append(tensor(name + ".b", [directions, 2 * rows], floats: bias.floats))
            }
            let output = node(
                isLSTM ? "LSTM" : "GRU", inputs, attributes,
                second: takesStates && number == count - 1 ? states : nil)
            if takesStates, number == count - 1 { break }
            let turned = node("Transpose", [output], [("perm", .ints([0, 2, 1, 3]))])
            value = node("Reshape", [turned, ints([0, 0, directions * hidden])])
        }
        if takesStates {
            // [directions, batch, h] → [batch, directions·h].
            let turned = node("Transpose", [states], [("perm", .ints([1, 0, 2]))])
            return node("Reshape", [turned, ints([0, 2 * hidden])])
        }
        if isLast { return node("Gather", [value, scalar(-1)], [("axis", .int(0))]) }
        return node("Transpose", [value], [("perm", .ints([1, 0, 2]))])
    }
}
