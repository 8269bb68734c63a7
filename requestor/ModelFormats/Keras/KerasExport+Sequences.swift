import NeuralNetwork
import Tensors

extension KerasWriter {
    mutating func embedding(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        try refuseChannels(layer)
        guard let table = layer.parameters["weight"] else { throw DeMLError(.internal, "embedding has no weight") }
        return add(
            "Embedding",
            [
                "input_dim": .integer(table.shape[0]), "output_dim": .integer(table.shape[1]),
                "mask_zero": .boolean(false),
            ], [table], behind: [x], shape: layer.output)
    }

    /// lstm and gru: a layer of Keras for each of ours, in `Bidirectional` where they go both ways.
    mutating func recurrence(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        try refuseChannels(layer)
        let isLSTM = layer.type == "lstm"
        let type = isLSTM ? "LSTM" : "GRU"
        let hidden = layer.int("hidden_size") ?? 1
        let count = layer.int("num_layers") ?? 1
        let isBidirectional = layer.bool("bidirectional", false)
        let hasBias = layer.bool("bias", true)
        let dropout = layer.double("dropout", 0)
        var value = x
        for number in 0..<count {
            let isLast = number == count - 1
            let returnsSequences = !isLast || layer.options["output"]?.text != "last"
            var config: [String: JSONTree] = [
                "units": .integer(hidden), "activation": .text("tanh"), "recurrent_activation": .text("sigmoid"),
                "use_bias": .boolean(hasBias), "return_sequences": .boolean(returnsSequences),
                "dtype": .text("float32"),
            ]
            if !isLSTM { config["reset_after"] = .boolean(true) }
            let forward = try cell(layer, "_l\(number)", hasBias: hasBias)
            let width = hidden * (isBidirectional ? 2 : 1)
            let shape = returnsSequences ? [layer.input[0], width] : [width]
            if isBidirectional {
                let backward = try cell(layer, "_l\(number)_reverse", hasBias: hasBias)
                config["name"] = .text(type.lowercased())
                // The backward layer is made like it.
                let inner: JSONTree = .mapping([
                    "module": .text("keras.layers"), "class_name": .text(type), "config": .mapping(config),
                    "registered_name": .null,
                ])
                value = add(
                    "Bidirectional", ["layer": inner, "merge_mode": .text("concat")],
                    in: [(["forward_layer", "cell"], forward), (["backward_layer", "cell"], backward)],
                    behind: [value], shape: shape)
            } else {
                value = add(type, config, in: [(["cell"], forward)], behind: [value], shape: shape)
            }
            if dropout > 0, !isLast {
                value = add("Dropout", ["rate": .number(dropout)], behind: [value], shape: shape)
            }
        }
        return value
    }

    /// Where sequences have channels, which Keras has last, all of them are turned.
    private func refuseChannels(_ layer: WalkedLayer) throws(DeMLError) {
        guard turnsSequences else { return }
        throw refusal(layer, "with channels of sequences in the same model it is not written for Keras")
    }

    /// The arrays of a cell in Keras's order and with its order of gates.
    private func cell(_ layer: WalkedLayer, _ suffix: String, hasBias: Bool) throws(DeMLError) -> [Tensor] {
        let isLSTM = layer.type == "lstm"
        // torch: i, f, g, o, as Keras's i, f, c, o; r, z, n for Keras's z, r, h.
        let gates = isLSTM ? [0, 1, 2, 3] : [1, 0, 2]
        let hidden = layer.int("hidden_size") ?? 1
        func sorted(_ name: String) throws(DeMLError) -> (floats: [Float], columns: Int) {
            guard let tensor = layer.parameters[name + suffix] else {
                throw DeMLError(.internal, "\(layer.type) has no \(name + suffix)")
            }
            let columns = tensor.shape.count > 1 ? tensor.shape[1] : 1
            return (ConstantMath.blocks(gates, of: hidden * columns, in: try tensor.floats()), columns)
        }
        func kernel(_ name: String) throws(DeMLError) -> Tensor {
            let (floats, columns) = try sorted(name)
            return try ConstantMath.transposed(Tensor(shape: [gates.count * hidden, columns], floats: floats), [1, 0])
        }
        var arrays = [try kernel("weight_ih"), try kernel("weight_hh")]
        guard hasBias else { return arrays }
        let (input, state) = (try sorted("bias_ih").floats, try sorted("bias_hh").floats)
        // An LSTM of Keras has one bias, a GRU one for each product.
        arrays.append(
            isLSTM
                ? Tensor(shape: [input.count], floats: zip(input, state).map { $0 + $1 })
                : Tensor(shape: [2, input.count], floats: input + state))
        return arrays
    }
}
