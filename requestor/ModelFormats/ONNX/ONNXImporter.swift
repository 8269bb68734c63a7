import NeuralNetwork
import Tensors

/// An ONNX graph brought into an ``ImportGraph``: constants folded, every operator one of our layers' or a step that the
/// simplifier knows. The first dimension is the batch.
struct ONNXImporter {
    enum Value {
        case constant(Tensor)
        case data(Int)
        /// A sequence [batch, t, c] that the file has in another order.
        case arranged(Int, Arrangement)
        /// What an attention may take, and nothing else: it is refused with this.
        case pending(DeMLError)
    }

    enum Arrangement {
        /// [t, batch, c]
        case sequenceFirst
        /// [t, directions, batch, h], as recurrences give it.
        case directions
        /// [t, batch, directions, h]
        case directionsLast
        /// [1, batch, h] after the last step.
        case state
        /// [2, batch, h] of both directions, each after its last step.
        case states
        /// [batch, 2, h]
        case statesSecond
    }

    let model: ONNXModel
    private(set) var graph: ImportGraph
    private var values: [String: Value] = [:]
    private var attention = ONNXAttention()
    /// The size of the first dimension, or what stands for one that has none.
    let batch: Int
    private(set) var notes: [String] = []
    /// The input has the batch second.
    private let isSequenceFirst: Bool
    /// Outputs of recurrences, with the sequence first: between two of a model's own layers they are turned.
    private var layerOutputs: Set<String> = []
    /// Numbers of all folded constants: a small graph must not grow them without end.
    private var folded = 0

    /// - Parameter inputShape: of one example, where the file leaves it open.
    init(_ model: ONNXModel, inputShape: [Int]? = nil) throws(DeMLError) {
        self.model = model
        guard !model.hasFunctions || model.nodes.allSatisfy({ ["", "ai.onnx"].contains($0.domain) }) else {
            throw DeMLError(
                .malformed, "the model has functions of its own, which are not read",
                hint: "export with the standard operators alone (torch: optimize=True)")
        }
        let inputs = model.inputs.filter { model.initializers[$0.name] == nil }
        guard let input = inputs.first else { throw DeMLError(.missing, "the model has no input") }
        guard inputs.count == 1 else {
            throw DeMLError(
                .malformed,
                "the model has \(inputs.count) inputs: \(inputs.prefix(4).map { $0.name.quotedForMessage }.joined(separator: ", "))",
                hint: "models with one input are read")
        }
        guard let shape = input.shape ?? inputShape.map({ [nil] + $0.map(Optional.some) }), shape.count >= 2 else {
            throw DeMLError(
                .shape, "the input \(input.name.quotedForMessage) has no shape of a batch of examples",
                hint: "the first dimension is the batch, and another must follow")
        }
        // A prime that no layer has by chance shows where an operator mixes the batch with something else.
        let users = model.nodes.filter { $0.inputs.contains(input.name) }
        isSequenceFirst =
            shape.count == 3
            && users.allSatisfy { ["LSTM", "GRU"].contains($0.operation) && $0.attributes["layout"]?.int ?? 0 == 0 }
            && !users.isEmpty
        let dimensions = isSequenceFirst ? [shape[1], shape[0], shape[2]] : shape
        batch = (dimensions.first ?? nil) ?? 251
        guard (1...1 << 16).contains(batch) else {
            throw DeMLError(.outOfRange, "the input \(input.name.quotedForMessage) has a batch of \(batch)")
        }
        graph = try ImportGraph(inputShape: try InputShape.completed(Array(dimensions.dropFirst()), inputShape))
        for (name, tensor) in model.initializers { values[name] = .constant(tensor) }
        values[input.name] = isSequenceFirst ? .arranged(0, .sequenceFirst) : .data(0)
        if isSequenceFirst {
            notes.append("sequences are taken as [batch, length, features], not with the batch second")
        }
    }

    /// The steps from the input to the output.
    mutating func steps() throws(DeMLError) -> [Step] {
        for node in model.nodes {
            do throws(DeMLError) { try add(node) } catch { throw error.at(node.origin.place) }
        }
        guard let output = model.outputs.first else { throw DeMLError(.missing, "the model has no output") }
        if model.outputs.count > 1 {
            notes.append("only the first of \(model.outputs.count) outputs is taken: \(output.name.quotedForMessage)")
        }
        switch values[output.name] {
        case .arranged(let value, .sequenceFirst)? where isSequenceFirst: return try graph.steps(to: value)
        case .arranged(let value, .state)?:
            let origin = graph.origin(of: value) ?? Step.Origin(name: output.name, operation: "output")
            let last = try graph.add(.lastStep, behind: value, shape: [graph.shape(of: value)[1]], origin)
            return try graph.steps(to: last)
        default: break
        }
        if case .arranged? = values[output.name] {
            throw DeMLError(
                .malformed, "the output \(output.name.quotedForMessage) is a sequence with the batch second",
                hint: "export the model with batch_first=True")
        }
        if case .pending(let error)? = values[output.name] { throw error }
        guard case .data(let value)? = values[output.name] else {
            throw DeMLError(.missing, "the output \(output.name.quotedForMessage) does not depend on the input")
        }
        return try graph.steps(to: value)
    }

    private mutating func add(_ node: ONNXModel.Node) throws(DeMLError) {
        guard ["", "ai.onnx"].contains(node.domain) else {
            throw node.origin.refusal(
                "the operator is of \(node.domain.quotedForMessage), which is not read",
                hint: "export with the standard operators alone")
        }
        guard let output = node.outputs.first else { return }
        var inputs: [Value?] = []
        for name in node.inputs {
            if name.isEmpty {
                inputs.append(nil)
                continue
            }
            guard let value = values[name] else {
                throw node.origin.refusal("its input \(name.quotedForMessage) is made nowhere before it", .missing)
            }
            inputs.append(value)
        }
        let data = inputs.compactMap { if case .data(let value)? = $0 { value } else { nil } }
        if node.operation == "Shape", let shape = shape(node, data.first) {
            let start = node.attributes["start"]?.int ?? 0
            let end = node.attributes["end"]?.int ?? shape.count
            func place(_ at: Int) -> Int { min(max(at < 0 ? at + shape.count : at, 0), shape.count) }
            let part = place(start) < place(end) ? Array(shape[place(start)..<place(end)]) : []
            values[output] = .constant(Tensor(shape: [part.count], int64s: part.map(Int64.init)))
            return
        }
        let isElsewhere = inputs.contains {
            switch $0 {
            case .arranged?, .pending?: true
            default: false
            }
        }
        if data.isEmpty, !isElsewhere {
            let constants = inputs.map { value -> Tensor? in
                if case .constant(let tensor)? = value { tensor } else { nil }
            }
            guard let tensor = try ONNXFolding.fold(node, constants) else {
                throw node.origin.refusal(
                    "the operator is not computed for constants",
                    hint: "simplify the model with onnxsim, or export it anew")
            }
            folded = folded.addingSaturated(tensor.count)
            guard folded <= 2 * ConstantMath.mostNumbers else {
                throw node.origin.refusal("the constants grow beyond all reason", .tooLarge)
            }
            values[output] = .constant(tensor)
            return
        }
        let call = ONNXCall(node: node, inputs: inputs, graph: graph, batch: batch, version: model.version)
        var attending = call
        let parts = try attending.attention(&attention)
        graph = attending.graph
        // What is no move is the attention's alone.
        if let parts, !Self.moves.contains(node.operation) {
            return put(parts, of: node, call.refusal("it is a part of an attention that is not known"))
        }
        do throws(DeMLError) {
            for case .pending(let error)? in inputs { throw error }
            try addAlone(node, inputs)
            if let parts { put(parts, of: node, nil) }
        } catch {
            guard let parts else { throw error }
            put(parts, of: node, error.at(node.origin.place))
        }
    }

    private static let moves: Set<String> = [
        "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Split", "Mul", "Div", "Identity", "Cast",
    ]

    /// Keeps what a node's outputs are to an attention. Without an error they are also what they are without one.
    private mutating func put(_ parts: [ONNXAttention.Value], of node: ONNXModel.Node, _ error: DeMLError?) {
        for (name, part) in zip(node.outputs, parts) where !name.isEmpty {
            attention.values[name] = part
            if let error { values[name] = .pending(error) }
            guard case .view(let view) = part, case .value(let value) = view.source, graph.shape(of: value).count == 2
            else { continue }
            let shape = graph.shape(of: value)
            let whole = SequenceView(view.source, batch: batch, tokens: shape[0], features: shape[1])
            if view == whole {
                attention.values[name] = nil
                values[name] = .data(value)
            } else if view == whole.transposed([1, 0, 2]) {
                attention.values[name] = nil
                values[name] = .arranged(value, .sequenceFirst)
            }
        }
    }

    /// The shape of a node's input, with the batch.
    private func shape(_ node: ONNXModel.Node, _ value: Int?) -> [Int]? {
        if let value { return [batch] + graph.shape(of: value) }
        if case .view(let view)? = node.inputs.first.flatMap({ attention.values[$0] }) { return view.shape }
        return nil
    }

    /// A node that is no part of an attention.
    private mutating func addAlone(_ node: ONNXModel.Node, _ inputs: [Value?]) throws(DeMLError) {
        guard let output = node.outputs.first else { return }
        var call = ONNXCall(node: node, inputs: inputs, graph: graph, batch: batch, version: model.version)
        call.followsLayer = node.inputs.first.map(layerOutputs.contains) ?? false
        if let value = try call.arranged() {
            graph = call.graph
            values[output] = value
            if case .arranged(_, .sequenceFirst) = value, node.operation == "Squeeze" || node.operation == "Reshape" {
                layerOutputs.insert(output)
            }
            if let state = call.states, node.outputs.count > 1, !node.outputs[1].isEmpty {
                values[node.outputs[1]] = .arranged(state.value, state.directions == 2 ? .states : .state)
            }
            return
        }
        let value = try call.value()
        graph = call.graph
        values[output] = .data(value)
        if node.operation == "MaxPool", node.outputs.count > 1, !node.outputs[1].isEmpty {
            values[node.outputs[1]] = .pending(
                call.refusal(
                    "its indices are used", hint: "pools here give the largest numbers, not their places"
                ).at(node.origin.place))
        }
    }
}

/// One node that works on data.
struct ONNXCall {
    let node: ONNXModel.Node
    let inputs: [ONNXImporter.Value?]
    var graph: ImportGraph
    let batch: Int
    /// Of the standard operators (the opset).
    let version: Int
    /// The recurrence whose last states are the node's second output.
    var states: (value: Int, directions: Int)?
    /// Its input is a recurrence's output, with the sequence first as that left it.
    var followsLayer = false

    init(node: ONNXModel.Node, inputs: [ONNXImporter.Value?], graph: ImportGraph, batch: Int, version: Int) {
        self.node = node
        self.inputs = inputs
        self.graph = graph
        self.batch = batch
        self.version = version
    }

    var origin: Step.Origin { node.origin }

    func refusal(_ message: String, hint: String? = nil) -> DeMLError { origin.refusal(message, hint: hint) }

    // MARK: What a node is given

    /// The value of an input that must be data.
    func data(_ index: Int = 0) throws(DeMLError) -> Int {
        guard index < inputs.count, case .data(let value)? = inputs[index] else {
            throw refusal("its input \(index) is a constant, and must come from the model's input")
        }
        return value
    }

    func shape(_ index: Int = 0) throws(DeMLError) -> [Int] { graph.shape(of: try data(index)) }

    /// An input that must be constant; nil where it is left out.
    func constant(_ index: Int) throws(DeMLError) -> Tensor? {
        guard index < inputs.count, let input = inputs[index] else { return nil }
        guard case .constant(let tensor) = input else {
            throw refusal(
                "its input \(index) is computed from the model's input, and must be a constant",
                hint: "layers here have weights that are parameters")
        }
        return tensor
    }

    func required(_ index: Int) throws(DeMLError) -> Tensor {
        guard let tensor = try constant(index) else { throw refusal("its input \(index) is missing") }
        return tensor
    }

    /// One number: an attribute, or a constant input.
    func number(_ key: String, _ index: Int? = nil) throws(DeMLError) -> Double? {
        if let attribute = node.attributes[key] { return attribute.float }
        guard let index, let tensor = try constant(index) else { return nil }
        return try ConstantMath.doubles(tensor).first
    }

    func int(_ key: String, _ standard: Int) -> Int { node.attributes[key]?.int ?? standard }

    func ints(_ key: String, _ index: Int? = nil) throws(DeMLError) -> [Int]? {
        if let attribute = node.attributes[key] { return attribute.ints }
        guard let index, let tensor = try constant(index) else { return nil }
        return try tensor.integers()
    }

    /// The same numbers as F32, in another shape if one is given.
    func weights(_ tensor: Tensor, _ shape: [Int]? = nil) throws(DeMLError) -> Tensor {
        guard tensor.dtype.isFloatingPoint else {
            throw origin.refusal("its weights are \(tensor.dtype.rawValue), not floating-point numbers", .dtype)
        }
        let shape = shape ?? tensor.shape
        guard elementCount(of: shape) == tensor.count else {
            throw origin.refusal("a parameter has the shape \(tensor.shape), and \(shape) is needed", .shape)
        }
        return Tensor(shape: shape, floats: try tensor.floats())
    }

    // MARK: What it becomes

    mutating func layer(_ layer: LayerSketch, behind value: Int? = nil) throws(DeMLError) -> Int {
        let input: Int
        if let value { input = value } else { input = try data() }
        return try graph.add(layer, behind: input, origin)
    }

    mutating func function(_ function: ScalarFunction) throws(DeMLError) -> Int {
        try graph.add(.function(function), behind: try data(), origin)
    }

    /// The axis of a node, counted from 0, the batch included.
    func axis(_ axis: Int, of shape: [Int]) throws(DeMLError) -> Int {
        let rank = shape.count + 1
        let place = axis < 0 ? axis + rank : axis
        guard (0..<rank).contains(place) else { throw refusal("the axis \(axis) is none of \(rank) dimensions") }
        return place
    }

    mutating func value() throws(DeMLError) -> Int {
        switch node.operation {
        case "Identity": return try data()
        case "Cast":
            guard let type = ONNXTensor.types[int("to", 0)], type.isFloatingPoint else {
                throw refusal(
                    "numbers of the model are made integers", hint: "layers here compute floating-point numbers")
            }
            return try data()
        case "Dropout":
            let p = try number("ratio", 1) ?? 0.5
            let isTraining = try constant(2)?.integers().first ?? 0 != 0
            guard p == 0 || !isTraining else {
                throw refusal("it is in training mode", hint: "export the model in eval mode")
            }
            return try layer(LayerSketch("dropout", ["p": .number(p)]))
        case "Relu": return try layer(LayerSketch("relu"))
        case "Sigmoid": return try layer(LayerSketch("sigmoid"))
        case "Tanh": return try layer(LayerSketch("tanh"))
        case "Softplus": return try layer(LayerSketch("softplus"))
        case "HardSwish": return try layer(LayerSketch("hard_swish"))
        case "Swish" where node.attributes["alpha"]?.float ?? 1 == 1: return try layer(LayerSketch("silu"))
        case "Gelu":
            let approximation = node.attributes["approximate"]?.text ?? "none"
            return try layer(LayerSketch("gelu", approximation == "none" ? [:] : ["approximate": .text(approximation)]))
        case "LeakyRelu":
            return try layer(LayerSketch("leaky_relu", ["negative_slope": .number(try number("alpha") ?? 0.01)]))
        case "PRelu":
            let slopes = try ConstantMath.doubles(try required(1))
            guard let slope = slopes.first, Set(slopes).count == 1 else {
                throw refusal("its slopes differ from channel to channel", hint: "leaky_relu has one slope")
            }
            return try layer(LayerSketch("leaky_relu", ["negative_slope": .number(slope)]))
        case "Elu": return try layer(LayerSketch("elu", ["alpha": .number(try number("alpha") ?? 1)]))
        case "Celu" where node.attributes["alpha"]?.float ?? 1 == 1: return try layer(LayerSketch("elu"))
        case "HardSigmoid":
            let (alpha, beta) = (try number("alpha") ?? 0.2, try number("beta") ?? 0.5)
            // Ours is clip(x/6 + 1/2, 0, 1).
            guard alpha > 0, alpha < 1e6, abs(beta) < 1e6 else {
                throw refusal("its alpha \(alpha) or beta \(beta) makes no sigmoid")
            }
            var value = try data()
            if abs(alpha - 1.0 / 6) > 1e-6 {
                value = try graph.add(.function(.multiply(6 * alpha)), behind: value, origin)
            }
            if beta != 0.5 { value = try graph.add(.function(.add(6 * beta - 3)), behind: value, origin) }
            return try layer(LayerSketch("hard_sigmoid"), behind: value)
        case "Clip":
            let (low, high) = (try number("min", 1), try number("max", 2))
            return try function(.clip(low ?? -.infinity, high ?? .infinity))
        case "Greater", "Less":
            guard let number = try ConstantMath.doubles(try required(1)).first, try required(1).count == 1 else {
                throw refusal("it compares with different numbers")
            }
            return try function(node.operation == "Greater" ? .greater(number) : .less(number))
        case "Where":
            let inputs = [try data(0), try data(1), try data(2)]
            return try graph.add(
                ImportGraph.Node(
                    operation: .join(.select), origin: origin, inputs: inputs, shape: graph.shape(of: inputs[0])))
        case "Erf": return try function(.erf)
        case "Exp": return try function(.exp)
        case "Log": return try function(.log)
        case "Sqrt": return try function(.sqrt)
        case "Abs": return try function(.abs)
        case "Neg": return try function(.negative)
        case "Reciprocal": return try function(.reciprocal)
        case "Pow":
            guard let exponent = try ConstantMath.doubles(try required(1)).first, try required(1).count == 1 else {
                throw refusal("its exponents differ from number to number")
            }
            return try function(.power(exponent))
        case "Add", "Sub", "Mul", "Div", "Sum", "Concat": return try joined()
        case "Gemm", "MatMul": return try product()
        case "Conv", "ConvTranspose": return try convolution()
        case "BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization",
            "RMSNormalization", "LpNormalization":
            return try normalization()
        case "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Upsample", "Resize", "Pad":
            return try window()
        case "Softmax", "LogSoftmax": return try softmax()
        case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand", "ReduceMean":
            return try reshaped()
        case "Gather": return try embedding()
        case "RNN", "Attention", "MultiHeadAttention", "Split":
            throw refusal(
                "it is a part of a sequence that is not known", hint: "torch.export.save keeps more: import the .pt2")
        default:
            throw refusal(
                "the operator has no layer here",
                hint: "known are \(Self.known); replace the layer, or export the part before it")
        }
    }

    private static let known =
        "Conv, ConvTranspose, Gemm, MatMul, pools, normalisations, activations, Pad, Resize, Gather, LSTM, GRU, Add, Mul and Concat"
}
