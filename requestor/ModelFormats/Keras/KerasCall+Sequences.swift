import NeuralNetwork
import Tensors

extension KerasCall {
    /// Embedding, LSTM, GRU, and Bidirectional around one of them. Sequences are `[t, c]` in Keras too.
    mutating func sequence() throws(DeMLError) -> Int {
        switch origin.operation {
        case "Embedding":
            let table = try weight(0)
            let value = try data()
            guard table.shape.count == 2, value == 0, graph.inputShape.count == 1 else {
                throw refusal("it embeds something that is not the model's input of tokens")
            }
            guard config["mask_zero"]?.bool != true else {
                throw refusal("it masks the token 0", hint: "sequences of one length are known: mask_zero=False")
            }
            var sketch = LayerSketch(
                "embedding",
                ["num_embeddings": .integer(table.shape[0]), "embedding_dim": .integer(table.shape[1])],
                [("weight", table)])
            sketch.origins["weight"] = "\(origin.name)/0"
            return try graph.add(
                ImportGraph.Node(
                    operation: .step(.layer(sketch)), origin: origin, inputs: [value],
                    shape: graph.inputShape + [table.shape[1]]))
        case "Bidirectional":
            guard config["merge_mode"]?.text ?? "concat" == "concat", let inner = config["layer"],
                let type = inner["class_name"]?.text, let options = inner["config"]
            else { throw refusal("its merge_mode is not concat", hint: "both directions stand side by side here") }
            if let backward = config["backward_layer"] {
                // What decides what is computed; ids and initialisers differ anyway.
                let keys = [
                    "units", "activation", "recurrent_activation", "use_bias", "return_sequences", "reset_after",
                    "recurrent_dropout", "stateful",
                ]
                guard backward["class_name"] == inner["class_name"],
                    keys.allSatisfy({ backward["config"]?[$0] == options[$0] })
                else {
                    throw refusal("its backward_layer is not like its layer", hint: "both directions alike are known")
                }
            }
            return try recurrence(type, options, directions: 2)
        default: return try recurrence(origin.operation, config, directions: 1)
        }
    }

    private mutating func recurrence(_ type: String, _ options: JSONTree, directions: Int) throws(DeMLError) -> Int {
        guard type == "LSTM" || type == "GRU" else {
            throw refusal("it is around \(type.quotedForMessage)", hint: "LSTM and GRU are known")
        }
        let isLSTM = type == "LSTM"
        guard options["activation"]?.text ?? "tanh" == "tanh",
            options["recurrent_activation"]?.text ?? "sigmoid" == "sigmoid", options["go_backwards"]?.bool != true,
            options["return_state"]?.bool != true, options["stateful"]?.bool != true,
            options["recurrent_dropout"]?.double ?? 0 == 0, isLSTM || options["reset_after"]?.bool ?? true
        else {
            throw refusal(
                "its gates are not torch's",
                hint: "tanh and sigmoid, forwards, reset_after and no recurrent_dropout are known")
        }
        let hasBias = options["use_bias"]?.bool ?? true
        let each = hasBias ? 3 : 2
        let hidden = try weight(1).shape[0]
        // Keras: i, f, c, o, as torch's i, f, g, o; z, r, h for torch's r, z, n.
        let gates = isLSTM ? [0, 1, 2, 3] : [1, 0, 2]
        func rows(_ tensor: Tensor) throws(DeMLError) -> Tensor {
            guard tensor.shape.count == 2, tensor.shape[0] == gates.count * hidden else {
                throw refusal("a weight of it has the shape \(tensor.shape)")
            }
            return Tensor(
                shape: tensor.shape,
                floats: ConstantMath.blocks(gates, of: hidden * tensor.shape[1], in: try tensor.floats()))
        }
        var sketch = LayerSketch(
            type.lowercased(),
            [
                "hidden_size": .integer(hidden), "bias": .boolean(hasBias), "bidirectional": .boolean(directions == 2),
                "output": .text(options["return_sequences"]?.bool == true ? "all" : "last"),
            ])
        for direction in 0..<directions {
            let first = direction * each
            let suffix = "_l0" + (direction == 1 ? "_reverse" : "")
            sketch.parameters += [
                ("weight_ih" + suffix, try rows(try weight(first, [1, 0]))),
                ("weight_hh" + suffix, try rows(try weight(first + 1, [1, 0]))),
            ]
            guard hasBias else { continue }
            // One bias, or of GRU one for each product.
            let bias = try weight(first + 2)
            let count = gates.count * hidden
            guard bias.count == (isLSTM ? count : 2 * count) else {
                throw refusal("its bias has the shape \(bias.shape)")
            }
            let both = try bias.floats() + (isLSTM ? [Float](repeating: 0, count: count) : [])
            for (part, name) in ["bias_ih", "bias_hh"].enumerated() {
                let values = Array(both[part * count..<(part + 1) * count])
                let sorted = try rows(Tensor(shape: [count, 1], floats: values))
                sketch.parameters.append((name + suffix, try sorted.reshaped([count])))
            }
        }
        // What lies in one array there is two here: nameless.
        for (name, _) in sketch.parameters { sketch.origins[name] = "" }
        return try graph.add(sketch, behind: try data(), origin)
    }
}
