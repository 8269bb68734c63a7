import NeuralNetwork
import Tensors

/// The ATen operators of an exported program brought into an ``ImportGraph``.
struct ExportedImporter {
    let program: ExportedProgram
    private(set) var graph: ImportGraph
    private var values: [String: Int] = [:]
    private(set) var notes: [String] = []

    init(_ program: ExportedProgram) throws(DeMLError) {
        self.program = program
        guard program.inputs.count == 1, let input = program.inputs.first else {
            throw DeMLError(
                .malformed, "the model has \(program.inputs.count) inputs", hint: "models with one input are read")
        }
        guard let shape = program.shapes[input], shape.count >= 2 else {
            throw DeMLError(
                .shape, "the input \(input.quotedForMessage) has no shape of a batch of examples",
                hint: "the first dimension is the batch, and another must follow")
        }
        graph = try ImportGraph(inputShape: Array(shape.dropFirst()))
        values[input] = 0
    }

    /// The steps from the input to the output.
    mutating func steps() throws(DeMLError) -> [Step] {
        let sequences = ExportedSequences(program)
        for node in program.nodes {
            var call = ExportedCall(
                node: node, program: program, sequences: sequences, graph: graph, values: values)
            if let output = node.outputs.first, sequences.absorbed.contains(output) { continue }
            // What works on weights alone (a counter of batch_norm), or asks for sizes, makes no value.
            guard let output = node.outputs.first, call.hasData || sequences.attentions[output] != nil else { continue }
            if values[output] != nil { continue }
            let value: Int
            do throws(DeMLError) { value = try call.value() } catch { throw error.at(node.origin.place) }
            values[output] = value
            for name in sequences.lastSteps[output] ?? [] { values[name] = value }
            graph = call.graph
        }
        guard let output = program.outputs.first else { throw DeMLError(.missing, "the model has no output") }
        if program.outputs.count > 1 {
            notes.append("only the first of \(program.outputs.count) outputs is taken")
        }
        guard let value = values[output] else {
            throw DeMLError(.missing, "the output \(output.quotedForMessage) does not depend on the input")
        }
        return try graph.steps(to: value)
    }
}

/// One node that works on data.
struct ExportedCall {
    let node: ExportedProgram.Node
    let program: ExportedProgram
    let sequences: ExportedSequences
    var graph: ImportGraph
    let values: [String: Int]

    var origin: Step.Origin { node.origin }

    func refusal(_ message: String, hint: String? = nil) -> DeMLError { origin.refusal(message, hint: hint) }

    // MARK: What a node is given

    private func tensorNames(_ argument: JSONTree) -> [String] {
        if let name = argument["as_tensor"]?["name"]?.text { return [name] }
        return (argument["as_tensors"]?.list ?? []).compactMap { $0["name"]?.text }
    }

    var hasData: Bool { node.arguments.values.contains { tensorNames($0).contains { values[$0] != nil } } }

    func data(_ key: String) throws(DeMLError) -> Int {
        guard let argument = node.arguments[key], let name = tensorNames(argument).first, let value = values[name]
        else {
            throw refusal("its \(key) is a constant, and must come from the model's input")
        }
        return value
    }

    /// A weight; nil where it is left out.
    func weight(_ key: String) throws(DeMLError) -> (tensor: Tensor, name: String)? {
        guard let argument = node.arguments[key], let name = tensorNames(argument).first else { return nil }
        guard let constant = program.constants[name] else {
            throw refusal(
                "its \(key) is computed from the model's input, and must be a parameter",
                hint: "layers here have weights that are parameters")
        }
        return constant
    }

    func int(_ key: String, _ standard: Int) -> Int { node.arguments[key]?["as_int"]?.int ?? standard }
    func bool(_ key: String, _ standard: Bool) -> Bool { node.arguments[key]?["as_bool"]?.bool ?? standard }
    func text(_ key: String) -> String? { node.arguments[key]?["as_string"]?.text }

    func double(_ key: String) -> Double? {
        node.arguments[key]?["as_float"]?.double ?? node.arguments[key]?["as_int"]?.double
    }

    /// A list of whole numbers, or one for all.
    func ints(_ key: String, count: Int) throws(DeMLError) -> [Int]? {
        guard let argument = node.arguments[key] else { return nil }
        guard let list = argument["as_ints"]?.ints else {
            return argument["as_int"]?.int.map { [Int](repeating: $0, count: count) }
        }
        if list.count == 1, count > 1 { return [Int](repeating: list[0], count: count) }
        guard list.count == count || list.isEmpty else {
            throw refusal("its \(key) has \(list.count) numbers, not \(count)")
        }
        return list.isEmpty ? nil : list
    }

    /// The shape that the program gives the node's output, without the batch.
    func outputShape() throws(DeMLError) -> [Int] {
        guard let output = node.outputs.first, let shape = program.shapes[output], let input = program.inputs.first,
            let batch = program.shapes[input]?.first
        else { throw refusal("the program does not say the shape of what it makes") }
        guard shape.count >= 2, shape[0] == batch else {
            throw refusal(
                "it makes the shape \(shape), which mixes the examples of a batch",
                hint: "the first dimension is the batch, and another must follow")
        }
        return Array(shape.dropFirst())
    }

    // MARK: What it becomes

    mutating func layer(
        _ type: String, _ options: [String: JSONTree] = [:], behind key: String = "self",
        _ weights: [(name: String, key: String)] = []
    ) throws(DeMLError) -> Int {
        var sketch = LayerSketch(type, options)
        for (name, key) in weights {
            guard let found = try weight(key) else { continue }
            guard found.tensor.dtype.isFloatingPoint else {
                throw origin.refusal("its \(key) is \(found.tensor.dtype.rawValue)", .dtype)
            }
            sketch.parameters.append((name, Tensor(shape: found.tensor.shape, floats: try found.tensor.floats())))
            sketch.origins[name] = found.name
        }
        return try graph.add(sketch, behind: try data(key), origin)
    }

    mutating func function(_ function: ScalarFunction) throws(DeMLError) -> Int {
        try graph.add(.function(function), behind: try data("self"), origin)
    }

    mutating func value() throws(DeMLError) -> Int {
        if let output = node.outputs.first, let attention = sequences.attentions[output] {
            return try self.attention(attention)
        }
        switch node.operation {
        case "embedding": return try embedding()
        case "lstm", "gru":
            return try recurrence(isLast: node.outputs.first.map { sequences.lastSteps[$0] != nil } ?? false)
        case "slice" where try outputShape() == graph.shape(of: data("self")): return try data("self")
        case "contiguous", "clone", "detach", "alias", "to", "_to_copy", "lift_fresh_copy", "identity", "type_as",
            "float":
            return try data("self")
        case "dropout", "dropout1d", "dropout2d", "feature_dropout", "native_dropout", "alpha_dropout":
            let p = double("p") ?? 0.5
            guard node.operation == "dropout" || !bool("train", false) || p == 0 else {
                throw refusal("it drops whole channels", hint: "dropout here drops numbers")
            }
            guard let argument = node.arguments["input"] ?? node.arguments["self"],
                let name = tensorNames(argument).first,
                let value = values[name]
            else { throw refusal("it has no input") }
            return try graph.add(LayerSketch("dropout", ["p": .number(p)]), behind: value, origin)
        case "relu", "sigmoid", "tanh", "silu": return try layer(node.operation)
        case "relu6": return try layer("relu6")
        case "hardswish": return try layer("hard_swish")
        case "hardsigmoid": return try layer("hard_sigmoid")
        case "gelu":
            let approximation = text("approximate") ?? "none"
            return try layer("gelu", approximation == "none" ? [:] : ["approximate": .text(approximation)])
        case "elu":
            guard double("scale") ?? 1 == 1, double("input_scale") ?? 1 == 1 else {
                throw refusal("it scales its input or output (selu)", hint: "elu is known")
            }
            return try layer("elu", ["alpha": .number(double("alpha") ?? 1)])
        case "leaky_relu": return try layer("leaky_relu", ["negative_slope": .number(double("negative_slope") ?? 0.01)])
        case "softplus":
            return try layer(
                "softplus", ["beta": .number(double("beta") ?? 1), "threshold": .number(double("threshold") ?? 20)])
        case "hardtanh", "clamp":
            let isClamp = node.operation == "clamp"
            let low = double(isClamp ? "min" : "min_val") ?? (isClamp ? -.infinity : -1)
            let high = double(isClamp ? "max" : "max_val") ?? (isClamp ? .infinity : 1)
            return try function(.clip(low, high))
        case "erf": return try function(.erf)
        case "exp": return try function(.exp)
        case "log": return try function(.log)
        case "sqrt": return try function(.sqrt)
        case "neg": return try function(.negative)
        case "abs": return try function(.abs)
        case "reciprocal": return try function(.reciprocal)
        case "pow": return try function(.power(double("exponent") ?? .nan))
        case "add", "sub", "mul", "div", "cat", "rsub": return try joined()
        case "linear", "conv1d", "conv2d", "conv_transpose2d", "addmm", "mm", "matmul": return try product()
        case "batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm": return try normalization()
        case "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool1d", "avg_pool1d", "adaptive_avg_pool1d",
            "upsample_nearest2d", "upsample_bilinear2d", "pad", "constant_pad_nd":
            return try window()
        case "softmax", "log_softmax", "_softmax", "_log_softmax":
            let shape = graph.shape(of: try data("self"))
            let axis = int("dim", -1)
            guard shape.count <= 2, axis == shape.count || axis == -1 else {
                throw refusal(
                    "it works along dimension \(axis) of values of shape \(shape)",
                    hint: "softmax is for the [classes], or [tokens, classes], at the model's end")
            }
            return try layer(node.operation.hasSuffix("log_softmax") ? "log_softmax" : "softmax")
        case "flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "unflatten", "permute", "transpose",
            "mean", "expand":
            return try reshaped()
        default:
            throw refusal(
                "the operator has no layer here",
                hint: "replace the layer by one that is known: \(Layer.knownTypes.joined(separator: ", "))")
        }
    }

    /// Sums, products and concatenations.
    private mutating func joined() throws(DeMLError) -> Int {
        if node.operation == "cat" {
            let names = node.arguments["tensors"].map(tensorNames) ?? []
            let inputs = names.compactMap { values[$0] }
            guard inputs.count == names.count, inputs.count > 0,
                [1, -graph.shape(of: inputs[0]).count].contains(int("dim", 0))
            else {
                throw refusal(
                    "it joins constants, or along axis \(int("dim", 0))", hint: "concat joins channels, or features")
            }
            let shape = try outputShape()
            return try graph.add(
                ImportGraph.Node(operation: .join(.concat), origin: origin, inputs: inputs, shape: shape))
        }
        guard double("alpha") ?? 1 == 1 else { throw refusal("its alpha is not 1") }
        let names = ["self", "other"].map { node.arguments[$0].map(tensorNames)?.first }
        let inputs = names.map { name in name.flatMap { values[$0] } }
        if node.operation == "add", let value = inputs[0] ?? inputs[1],
            let table = names.compactMap({ $0.flatMap { sequences.positions[$0] } }).first
        {
            return try positional(value, table: table)
        }
        if let first = inputs[0], let second = inputs[1] {
            let joins: [String: Step.Join] = ["add": .add, "sub": .subtract, "mul": .multiply, "div": .divide]
            guard let join = joins[node.operation] else { throw refusal("it is not known for two values") }
            return try graph.add(
                ImportGraph.Node(
                    operation: .join(join), origin: origin, inputs: [first, second], shape: try outputShape()))
        }
        guard let value = inputs[0] ?? inputs[1] else { throw refusal("it has no input") }
        let isFirst = inputs[0] == nil
        let kinds: [String: (Step.Arithmetic, Step.Arithmetic)] = [
            "add": (.add, .add), "sub": (.subtract, .subtractFrom), "rsub": (.subtractFrom, .subtract),
            "mul": (.multiply, .multiply), "div": (.divide, .divideInto),
        ]
        guard let pair = kinds[node.operation] else { throw refusal("it is not known") }
        let kind = isFirst ? pair.1 : pair.0
        if let number = double("other") {
            return try graph.add(.function(ScalarFunction(kind, number)), behind: value, origin)
        }
        guard let constant = try weight(isFirst ? "self" : "other") else { throw refusal("it has one input alone") }
        let shape = graph.shape(of: value)
        var inner = constant.tensor.shape
        if inner.count == shape.count + 1, inner.first == 1 { inner.removeFirst() }
        // A parameter for each position of a sequence, as vision transformers have it.
        if kind == .add, inner == shape, shape.count == 2,
            let name = names.compactMap({ $0 }).first(where: { program.constants[$0] != nil })
        {
            return try positional(value, table: name)
        }
        guard ConstantMath.broadcast(shape, inner) == shape else {
            throw refusal("a constant of shape \(constant.tensor.shape) does not fit a value of shape \(shape)")
        }
        return try graph.add(.constant(kind, try constant.tensor.floats(), shape: inner), behind: value, origin)
    }
}

extension ScalarFunction {
    /// Of a number that is written beside a value.
    init(_ kind: Step.Arithmetic, _ number: Double) {
        switch kind {
        case .add: self = .add(number)
        case .subtract: self = .add(-number)
        case .subtractFrom: self = .subtractFrom(number)
        case .multiply: self = .multiply(number)
        case .divide: self = .multiply(1 / number)
        case .divideInto: self = .divideInto(number)
        }
    }
}
