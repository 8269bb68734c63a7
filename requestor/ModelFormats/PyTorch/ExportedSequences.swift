import NeuralNetwork
import Tensors

/// What nodes of an exported program mean together: attention, positions, the last step of a recurrence, a tied head. Found
/// before the nodes are walked through.
struct ExportedSequences {
    /// An attention whose output product is a node.
    struct Attention {
        var input: String
        /// q, k and v: one weight of all, or three.
        var projections: [(weight: String, bias: String?)]
        var output: (weight: String, bias: String?)
        var heads: Int
        var isCausal: Bool
        var dropout: Double
    }

    /// By the name of the node's output.
    private(set) var attentions: [String: Attention] = [:]
    /// Outputs of nodes that are part of something else.
    private(set) var absorbed: Set<String> = []
    /// Values that are rows of a table, one for each position, and do not depend on the input: the table's weight.
    private(set) var positions: [String: String] = [:]
    /// Weights of embeddings.
    private(set) var embeddings: Set<String> = []
    /// Recurrences of which only the last step is taken, by their first output; what stands for it.
    private(set) var lastSteps: [String: Set<String>] = [:]

    private let makers: [String: ExportedProgram.Node]
    private let users: [String: [ExportedProgram.Node]]
    private let program: ExportedProgram

    init(_ program: ExportedProgram) {
        self.program = program
        var makers: [String: ExportedProgram.Node] = [:]
        var users: [String: [ExportedProgram.Node]] = [:]
        for node in program.nodes {
            for output in node.outputs { makers[output] = node }
            for name in Set(node.arguments.values.flatMap(Self.names)) { users[name, default: []].append(node) }
        }
        self.makers = makers
        self.users = users
        // What depends on the input alone has data; the rest is positions and masks.
        var data = Set(program.inputs)
        for node in program.nodes
        where node.arguments.values.contains(where: { Self.names($0).contains { data.contains($0) } }) {
            // The size of a batch is no data.
            if node.operation != "sym_size" { data.formUnion(node.outputs) }
        }
        for node in program.nodes {
            switch node.operation {
            case "embedding":
                guard let weight = Self.name(node, "weight"), program.constants[weight] != nil else { continue }
                if let indices = Self.name(node, "indices"), data.contains(indices) {
                    embeddings.insert(weight)
                } else if let output = node.outputs.first {
                    positions[output] = weight
                }
            case "unsqueeze", "slice", "expand":
                if let source = Self.name(node, "self"), let table = positions[source], let output = node.outputs.first
                {
                    positions[output] = table
                }
            case "scaled_dot_product_attention": find(attention: node)
            case "lstm", "gru": findLastStep(of: node)
            default: break
            }
        }
    }

    static func names(_ argument: JSONTree) -> [String] {
        if let name = argument["as_tensor"]?["name"]?.text { return [name] }
        return (argument["as_tensors"]?.list ?? []).compactMap { $0["name"]?.text }
    }

    private static func name(_ node: ExportedProgram.Node, _ key: String) -> String? {
        node.arguments[key].flatMap { names($0).first }
    }

    private static let moving: Set<String> = [
        "transpose", "view", "reshape", "contiguous", "permute", "unflatten", "clone", "_unsafe_view", "flatten",
        "split",
        "split_with_sizes", "chunk", "select", "squeeze", "unsqueeze", "alias",
    ]

    /// q, k, v ← moves ← linear of one value; then moves → linear.
    private mutating func find(attention node: ExportedProgram.Node) {
        guard node.arguments["attn_mask"]?["as_tensor"] == nil, node.arguments["scale"]?["as_float"] == nil,
            let query = Self.name(node, "query"), let shape = program.shapes[query], shape.count == 4
        else { return }
        var passed: Set<String> = []
        var sources: [ExportedProgram.Node] = []
        var places: [Int] = []
        for key in ["query", "key", "value"] {
            guard var current = Self.name(node, key) else { return }
            for _ in 0..<16 {
                guard let maker = makers[current] else { return }
                passed.formUnion(maker.outputs)
                if maker.operation == "linear" {
                    sources.append(maker)
                    break
                }
                guard Self.moving.contains(maker.operation), let before = Self.name(maker, "self") else { return }
                // Which part of the three it is.
                if maker.outputs.count == 3 { places.append(maker.outputs.firstIndex(of: current) ?? -1) }
                if maker.operation == "select" { places.append(maker.arguments["index"]?["as_int"]?.int ?? -1) }
                current = before
            }
        }
        guard sources.count == 3, var input = Self.name(sources[0], "input"),
            sources.allSatisfy({ Self.name($0, "input") == input })
        else { return }
        let isFused = Set(sources.map(\.name)).count == 1
        guard isFused ? places == [0, 1, 2] : places.isEmpty else { return }
        // nn.MultiheadAttention works with the batch second: a transposition before, and one behind.
        let turns = makers[input]?.operation == "transpose"
        if turns, let before = makers[input].flatMap({ Self.name($0, "self") }) {
            passed.insert(input)
            input = before
        }
        guard let (linear, behind) = follow(from: node.outputs.first ?? "", &passed), var output = behind.last else {
            return
        }
        passed.formUnion(behind.dropLast())
        if turns {
            passed.insert(output)
            guard let turned = followTransposition(from: output, &passed) else { return }
            output = turned
        }
        func product(_ node: ExportedProgram.Node) -> (weight: String, bias: String?)? {
            Self.name(node, "weight").map { ($0, Self.name(node, "bias")) }
        }
        guard let last = product(linear) else { return }
        let projections = (isFused ? [sources[0]] : sources).compactMap(product)
        attentions[output] = Attention(
            input: input, projections: projections, output: last, heads: shape[1],
            isCausal: node.arguments["is_causal"]?["as_bool"]?.bool ?? false,
            dropout: node.arguments["dropout_p"]?["as_float"]?.double ?? 0)
        absorbed.formUnion(passed)
    }

    /// From a value through moves to the product behind it; the product, and its outputs.
    private func follow(
        from start: String, _ passed: inout Set<String>
    ) -> (node: ExportedProgram.Node, outputs: [String])? {
        var current = start
        for _ in 0..<16 {
            passed.insert(current)
            guard let next = users[current], next.count == 1, let output = next[0].outputs.first else { return nil }
            if next[0].operation == "linear" { return (next[0], [output]) }
            guard Self.moving.contains(next[0].operation) else { return nil }
            current = output
        }
        return nil
    }

    /// From a value through moves to what a transposition makes.
    private func followTransposition(from start: String, _ passed: inout Set<String>) -> String? {
        var current = start
        for _ in 0..<8 {
            guard let next = users[current], next.count == 1, let output = next[0].outputs.first,
                Self.moving.contains(next[0].operation)
            else { return nil }
            if next[0].operation == "transpose" { return output }
            passed.insert(output)
            current = output
        }
        return nil
    }

    /// `out[:, -1]`, `h[-1]`, or `h` of a single layer, where nothing else is taken.
    private mutating func findLastStep(of node: ExportedProgram.Node) {
        guard node.arguments["bidirectional"]?["as_bool"]?.bool != true, let output = node.outputs.first else { return }
        var found: Set<String> = []
        for (index, name) in node.outputs.enumerated() {
            for user in users[name] ?? [] {
                guard index < 2, let result = user.outputs.first else { return }
                let axis = user.arguments["dim"]?["as_int"]?.int ?? 0
                let place = user.arguments["index"]?["as_int"]?.int
                switch (index, user.operation) {
                case (0, "select") where axis == 1 && (place == -1 || place == program.shapes[name].map { $0[1] - 1 }):
                    found.insert(result)
                case (1, "select") where axis == 0 && place == -1: found.insert(result)
                case (1, "squeeze") where node.arguments["num_layers"]?["as_int"]?.int == 1: found.insert(result)
                default: return
                }
            }
        }
        if !found.isEmpty { lastSteps[output] = found }
    }
}

extension ExportedCall {
    /// The weights of a layer, by our names.
    private func parameters(
        _ named: [(name: String, argument: String)]
    ) throws(DeMLError) -> (parameters: [(name: String, tensor: Tensor)], origins: [String: String]) {
        var parameters: [(name: String, tensor: Tensor)] = []
        var origins: [String: String] = [:]
        for (name, argument) in named {
            guard let constant = program.constants[argument] else {
                throw refusal("its \(name) is computed, and must be a parameter")
            }
            parameters.append((name, Tensor(shape: constant.tensor.shape, floats: try constant.tensor.floats())))
            origins[name] = constant.name
        }
        return (parameters, origins)
    }

    private mutating func add(_ sketch: LayerSketch, behind value: Int, shape: [Int]) throws(DeMLError) -> Int {
        try graph.add(
            ImportGraph.Node(operation: .step(.layer(sketch)), origin: origin, inputs: [value], shape: shape))
    }

    mutating func embedding() throws(DeMLError) -> Int {
        let value = try data("indices")
        guard value == 0, let weight = node.arguments["weight"].flatMap({ ExportedSequences.names($0).first }) else {
            throw refusal("it embeds something that is not the model's input")
        }
        var sketch = LayerSketch("embedding")
        (sketch.parameters, sketch.origins) = try parameters([("weight", weight)])
        let shape = sketch.parameters[0].tensor.shape
        guard shape.count == 2, graph.inputShape.count == 1 else { throw refusal("its input is \(graph.inputShape)") }
        sketch.options = ["num_embeddings": .integer(shape[0]), "embedding_dim": .integer(shape[1])]
        let padding = int("padding_idx", -1)
        if padding >= 0 { sketch.options["padding_idx"] = .integer(padding) }
        return try add(sketch, behind: value, shape: [graph.inputShape[0], shape[1]])
    }

    /// x + a row for each position.
    mutating func positional(_ value: Int, table: String) throws(DeMLError) -> Int {
        var sketch = LayerSketch("positional_embedding")
        (sketch.parameters, sketch.origins) = try parameters([("weight", table)])
        var shape = sketch.parameters[0].tensor.shape
        if shape.count == 3, shape[0] == 1 { shape.removeFirst() }
        guard shape.count == 2 else { throw refusal("its table of positions has the shape \(shape)") }
        sketch.parameters[0].tensor = try sketch.parameters[0].tensor.reshaped(shape)
        sketch.options = ["max_length": .integer(shape[0])]
        return try add(sketch, behind: value, shape: graph.shape(of: value))
    }

    /// The head of a model that shares its embedding's weight.
    mutating func tied(_ weight: String) throws(DeMLError) -> Int {
        let value = try data("input")
        var sketch = LayerSketch("tied_linear")
        if let bias = node.arguments["bias"].flatMap({ ExportedSequences.names($0).first }) {
            (sketch.parameters, sketch.origins) = try parameters([("bias", bias)])
            sketch.options = ["bias": .boolean(true)]
        }
        guard let rows = program.constants[weight]?.tensor.shape.first else { throw refusal("it has no weight") }
        return try add(sketch, behind: value, shape: graph.shape(of: value).dropLast() + [rows])
    }

    mutating func recurrence(isLast: Bool) throws(DeMLError) -> Int {
        let names = node.arguments["params"].map(ExportedSequences.names) ?? []
        let hasBias = bool("has_biases", true)
        let layers = int("num_layers", 1)
        let directions = bool("bidirectional", false) ? 2 : 1
        guard bool("batch_first", false) else {
            throw refusal("its sequences have the batch second", hint: "make it with batch_first=True")
        }
        guard (1...100).contains(layers), names.count == layers * directions * (hasBias ? 4 : 2) else {
            throw refusal("it has \(names.count) weights", hint: "proj_size must be 0")
        }
        var named: [(name: String, argument: String)] = []
        var rest = names[...]
        for layer in 0..<layers {
            for direction in 0..<directions {
                for part in ["weight_ih", "weight_hh"] + (hasBias ? ["bias_ih", "bias_hh"] : []) {
                    named.append((part + "_l\(layer)" + (direction == 1 ? "_reverse" : ""), rest.removeFirst()))
                }
            }
        }
        var sketch = LayerSketch(node.operation)
        (sketch.parameters, sketch.origins) = try parameters(named)
        guard let hidden = sketch["weight_hh_l0"]?.shape.last else { throw refusal("it has no weights") }
        sketch.options = [
            "hidden_size": .integer(hidden), "num_layers": .integer(layers), "bias": .boolean(hasBias),
            "dropout": .number(double("dropout") ?? 0), "bidirectional": .boolean(directions == 2),
            "output": .text(isLast ? "last" : "all"),
        ]
        return try graph.add(sketch, behind: try data("input"), origin)
    }

    mutating func attention(_ found: ExportedSequences.Attention) throws(DeMLError) -> Int {
        guard let value = values[found.input] else { throw refusal("it does not work on the model's input") }
        let hasBias = found.output.bias != nil
        var sketch = LayerSketch(
            "attention",
            [
                "num_heads": .integer(found.heads), "causal": .boolean(found.isCausal), "bias": .boolean(hasBias),
                "dropout": .number(found.dropout),
            ])
        guard found.projections.allSatisfy({ ($0.bias != nil) == hasBias }) else {
            throw refusal("some of its products have a bias and some not")
        }
        let width = graph.shape(of: value).last ?? 0
        func joined(_ arguments: [String]) throws(DeMLError) -> Tensor {
            var floats: [Float] = []
            for argument in arguments {
                guard let constant = program.constants[argument] else { throw refusal("a weight of it is computed") }
                floats += try constant.tensor.floats()
            }
            let rows = floats.count / max(width, 1)
            guard floats.count == 3 * width * width || floats.count == 3 * width else {
                throw refusal("its weights do not fit \(width) features")
            }
            return Tensor(shape: floats.count == 3 * width ? [3 * width] : [rows, width], floats: floats)
        }
        sketch.parameters = [("in_proj_weight", try joined(found.projections.map(\.weight)))]
        if hasBias { sketch.parameters.append(("in_proj_bias", try joined(found.projections.compactMap(\.bias)))) }
        let rest = try parameters(
            [("out_proj.weight", found.output.weight)] + (found.output.bias.map { [("out_proj.bias", $0)] } ?? []))
        sketch.parameters += rest.parameters
        sketch.origins = rest.origins
        if found.projections.count == 1, let fused = program.constants[found.projections[0].weight] {
            sketch.origins["in_proj_weight"] = fused.name
            sketch.origins["in_proj_bias"] = found.projections[0].bias.flatMap { program.constants[$0]?.name }
        }
        return try graph.add(sketch, behind: value, origin)
    }
}
