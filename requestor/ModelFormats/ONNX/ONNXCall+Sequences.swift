import NeuralNetwork
import Tensors

extension ONNXCall {
    /// What a node makes of a value with its batch in another place; nil where none is given. torch writes recurrences
    /// with the sequence first, between transpositions.
    mutating func arranged() throws(DeMLError) -> ONNXImporter.Value? {
        switch node.operation {
        case "LSTM", "GRU": return try recurrence()
        case "Transpose":
            let axes = node.attributes["perm"]?.ints ?? []
            switch inputs.first ?? nil {
            case .data(let value)? where axes == [1, 0, 2] && graph.shape(of: value).count == 2:
                return .arranged(value, .sequenceFirst)
            case .arranged(let value, .sequenceFirst)? where axes == [1, 0, 2]: return .data(value)
            case .arranged(let value, .directions)? where axes == [0, 2, 1, 3]: return .arranged(value, .directionsLast)
            case .arranged(let value, .states)? where axes == [1, 0, 2]: return .arranged(value, .statesSecond)
            case .arranged?: throw refusal("it moves the batch of a sequence in a way that is not known")
            default: return nil
            }
        case "Squeeze", "Reshape", "Gather", "Identity", "Slice":
            guard case .arranged(let value, let arrangement)? = inputs.first ?? nil else { return try step() }
            return try rearranged(value, arrangement)
        case "Dropout":
            guard case .arranged(let value, let arrangement)? = inputs.first ?? nil else { return nil }
            let p = try number("ratio", 1) ?? 0.5
            return .arranged(try layer(LayerSketch("dropout", ["p": .number(p)]), behind: value), arrangement)
        default:
            guard inputs.contains(where: { if case .arranged? = $0 { true } else { false } }) else { return nil }
            throw refusal(
                "it works on a sequence that has not its batch first",
                hint: "torch.export.save keeps sequences: import the .pt2")
        }
    }

    /// The last step of a sequence `[batch, t, c]`.
    private mutating func step() throws(DeMLError) -> ONNXImporter.Value? {
        guard node.operation == "Gather", case .data(let value)? = inputs.first ?? nil else { return nil }
        return .data(try lastStep(of: value, axis: 1))
    }

    private mutating func lastStep(of value: Int, axis: Int) throws(DeMLError) -> Int {
        let shape = graph.shape(of: value)
        let index = try required(1)
        guard shape.count == 2, int("axis", 0) == axis, index.shape.isEmpty, let place = try index.integers().first,
            place == -1 || place == shape[0] - 1
        else {
            throw refusal("it takes a part of its input", hint: "of a sequence the last step is taken")
        }
        return try graph.add(.lastStep, behind: value, shape: [shape[1]], origin)
    }

    private mutating func rearranged(
        _ value: Int, _ arrangement: ONNXImporter.Arrangement
    ) throws(DeMLError) -> ONNXImporter.Value {
        switch (arrangement, node.operation) {
        case (_, "Identity"): return .arranged(value, arrangement)
        case (.directions, "Squeeze") where try ints("axes", 1) == [1]: return .arranged(value, .sequenceFirst)
        // [t, batch, directions, h] → [t, batch, directions·h].
        case (.directionsLast, "Reshape") where try ints("shape", 1)?.count == 3:
            return .arranged(value, .sequenceFirst)
        case (.sequenceFirst, "Gather"): return .data(try lastStep(of: value, axis: 0))
        // [1, batch, h] of a state is the last step.
        case (.state, "Squeeze") where try ints("axes", 1) == [0]:
            return .data(try graph.add(.lastStep, behind: value, shape: [graph.shape(of: value)[1]], origin))
        case (.state, "Gather") where int("axis", 0) == 0:
            return .data(try graph.add(.lastStep, behind: value, shape: [graph.shape(of: value)[1]], origin))
        // [batch, 2, h] → [batch, 2·h].
        case (.statesSecond, "Reshape") where try ints("shape", 1)?.count == 2:
            return .data(try graph.add(.ends, behind: value, shape: [graph.shape(of: value)[1]], origin))
        default:
            throw refusal(
                "it takes a part of a sequence that is not known",
                hint: "torch.export.save keeps sequences: import the .pt2")
        }
    }

    private mutating func recurrence() throws(DeMLError) -> ONNXImporter.Value {
        let value: Int
        let isBatchFirst = int("layout", 0) == 1
        switch inputs.first ?? nil {
        case .arranged(let source, .sequenceFirst)? where !isBatchFirst: value = source
        case .data(let source)? where isBatchFirst: value = source
        default:
            throw refusal("its sequences have the batch second", hint: "export the model with batch_first=True")
        }
        guard graph.shape(of: value).count == 2 else { throw refusal("it works on \(graph.shape(of: value))") }
        for (index, name) in [(4, "lengths"), (7, "peepholes")] where inputs.count > index && inputs[index] != nil {
            throw refusal("it has \(name)", hint: "sequences of one length and torch's gates are known")
        }
        for index in [5, 6] where inputs.count > index {
            guard let state = try constant(index) else { continue }
            guard try ConstantMath.doubles(state).allSatisfy({ $0 == 0 }) else {
                throw refusal("it begins with a state that is not zero")
            }
        }
        let isLSTM = node.operation == "LSTM"
        let functions = isLSTM ? ["Sigmoid", "Tanh", "Tanh"] : ["Sigmoid", "Tanh"]
        let given = node.attributes["activations"]?.texts ?? []
        guard given.isEmpty || given == functions || given == functions + functions, node.attributes["clip"] == nil,
            int("input_forget", 0) == 0, isLSTM || int("linear_before_reset", 0) == 1
        else { throw refusal("its gates are not torch's", hint: "linear_before_reset must be 1 and clip left out") }
        let word = node.attributes["direction"]?.text ?? "forward"
        guard word != "reverse" else {
            throw refusal("it goes backwards alone", hint: "forward and bidirectional are known")
        }
        let directions = word == "bidirectional" ? 2 : 1
        let w = try weights(try required(1))
        let r = try weights(try required(2))
        // ONNX: i, o, f, c; torch: i, f, g, o. ONNX: z, r, h; torch: r, z, n.
        let gates = isLSTM ? [0, 2, 3, 1] : [1, 0, 2]
        guard r.shape.count == 3, r.shape[0] == directions, r.shape[1] == gates.count * r.shape[2], w.shape.count == 3,
            w.shape[0] == directions, w.shape[1] == r.shape[1], r.count > 0, w.count > 0
        else { throw origin.refusal("its weights have the shapes \(w.shape) and \(r.shape)", .shape) }
        let hidden = r.shape[2]
        let b = try constant(3).map { (tensor) throws(DeMLError) in
            try weights(tensor, [directions, 2 * gates.count * hidden])
        }
        func sorted(_ values: [Float], _ start: Int, _ columns: Int) -> [Float] {
            ConstantMath.blocks(gates, of: hidden * columns, in: values[start...])
        }
        var sketch = LayerSketch(
            isLSTM ? "lstm" : "gru",
            [
                "hidden_size": .integer(hidden), "bidirectional": .boolean(directions == 2), "bias": .boolean(b != nil),
                "output": .text("all"),
            ])
        let (wValues, rValues, bValues) = (try w.floats(), try r.floats(), try b?.floats())
        let rows = gates.count * hidden
        for direction in 0..<directions {
            let suffix = "_l0" + (direction == 1 ? "_reverse" : "")
            let columns = w.shape[2]
            sketch.parameters += [
                (
                    "weight_ih" + suffix,
                    Tensor(shape: [rows, columns], floats: sorted(wValues, direction * rows * columns, columns))
                ),
                (
                    "weight_hh" + suffix,
                    Tensor(shape: [rows, hidden], floats: sorted(rValues, direction * rows * hidden, hidden))
                ),
            ]
            guard let bValues else { continue }
            for (part, name) in ["bias_ih", "bias_hh"].enumerated() {
                let start = (direction * 2 + part) * rows
                sketch.parameters.append((name + suffix, Tensor(shape: [rows], floats: sorted(bValues, start, 1))))
            }
        }
        if followsLayer, value > 0, case .step(.layer(let last)) = graph.nodes[value - 1].operation {
            sketch.continues = last.type == sketch.type && last.options == sketch.options
        }
        let made = try layer(sketch, behind: value)
        states = (made, directions)
        return isBatchFirst && directions == 1 ? .data(made) : .arranged(made, .directions)
    }

    // MARK: Tokens

    /// A row of a table for each token of the model's input.
    mutating func embedding() throws(DeMLError) -> Int {
        guard inputs.count == 2, case .constant(let given)? = inputs[0], int("axis", 0) == 0, given.shape.count == 2
        else {
            throw refusal("it takes a part of its input", hint: "of a sequence the last step is taken, of a table rows")
        }
        guard try data(1) == 0, graph.inputShape.count == 1 else {
            throw refusal("it embeds something that is not a sequence of tokens, the model's input")
        }
        let table = try weights(given)
        let sketch = LayerSketch(
            "embedding", ["num_embeddings": .integer(table.shape[0]), "embedding_dim": .integer(table.shape[1])],
            [("weight", table)])
        return try add(sketch, behind: 0, shape: [graph.inputShape[0], table.shape[1]])
    }

    /// What the model's tokens are embedded by.
    var embeddingTable: Tensor? {
        for node in graph.nodes.prefix(1) {
            if case .step(.layer(let layer)) = node.operation, layer.type == "embedding" { return layer["weight"] }
        }
        return nil
    }

    /// x + a row for each position.
    mutating func positions(_ value: Int, _ numbers: [Float], _ shape: [Int]) throws(DeMLError) -> Int {
        let sketch = LayerSketch(
            "positional_embedding", ["max_length": .integer(shape[0])],
            [("weight", Tensor(shape: shape, floats: numbers))])
        return try add(sketch, behind: value, shape: shape)
    }

    /// The head of a model that shares its embedding's weight.
    mutating func tied(_ value: Int, outputs: Int) throws(DeMLError) -> Int {
        try add(LayerSketch("tied_linear"), behind: value, shape: graph.shape(of: value).dropLast() + [outputs])
    }

    private mutating func add(_ sketch: LayerSketch, behind value: Int, shape: [Int]) throws(DeMLError) -> Int {
        try graph.add(
            ImportGraph.Node(operation: .step(.layer(sketch)), origin: origin, inputs: [value], shape: shape))
    }
}
