import NeuralNetwork
import Tensors

/// The layers of a Keras model brought into an ``ImportGraph``. Images are [height, width, channels] there and
/// [channels, height, width] here: every value is held in our order, and only where Keras makes one dimension of an image
/// is it turned, which the simplifier takes into the weights behind.
struct KerasImporter {
    private(set) var graph: ImportGraph
    private(set) var notes: [String] = []
    private let file: KerasFile
    private var output = 0
    /// Layers so far, of all models within the model.
    private var count = 0

    /// - Parameter inputShape: of one example, as Keras orders it, where the file leaves a size open.
    init(_ file: KerasFile, inputShape: [Int]? = nil) throws(DeMLError) {
        self.file = file
        guard let layers = KerasFile.layers(of: file.model) else {
            throw DeMLError(
                .malformed,
                "the Keras model is of the class \((file.model["class_name"]?.text ?? "").quotedForMessage)",
                hint: "Sequential and functional models are read; a class of your own is a program")
        }
        graph = try ImportGraph(inputShape: try Self.inputShape(layers, inputShape))
        if graph.inputShape.count == 3, Set([graph.inputShape[1], graph.inputShape[2]]) != [1] {
            notes.append("images are taken as [channels, height, width], not with the channels last")
        }
        output = try add(file.model, layers, behind: 0, within: "")
    }

    /// The layers of a model behind a value; its output.
    /// - Parameter path: of a model within another one, ending in "/".
    private mutating func add(
        _ model: JSONTree, _ layers: [JSONTree], behind input: Int, within path: String
    ) throws(DeMLError) -> Int {
        count += layers.count
        guard count <= 10_000 else { throw DeMLError(.tooLarge, "the model has \(count) layers") }
        let isSequential = model["class_name"]?.text == "Sequential"
        var values: [String: Int] = [:]
        var output = input
        for layer in layers {
            let name = layer["config"]?["name"]?.text ?? layer["name"]?.text ?? ""
            let kind = layer["class_name"]?.text ?? ""
            let origin = Step.Origin(name: path + name, operation: kind)
            do throws(DeMLError) {
                let inputs = isSequential ? [output] : try sources(of: layer, origin, among: values) ?? [input]
                if kind == "InputLayer" {
                    values[name] = input
                    continue
                }
                if let inner = KerasFile.layers(of: layer) {
                    guard inputs.count == 1, path.count(where: { $0 == "/" }) < 8 else {
                        throw origin.refusal("it has \(inputs.count) inputs", hint: "models with one input are read")
                    }
                    output = try add(layer, inner, behind: inputs[0], within: path + name + "/")
                    values[name] = output
                    continue
                }
                var call = KerasCall(
                    origin: origin, config: layer["config"] ?? .null, weights: file.weights[path + name] ?? [],
                    inputs: inputs, graph: graph, isKeras3: file.isKeras3)
                output = try call.value()
                values[name] = output
                graph = call.graph
                notes += call.notes
            } catch {
                throw error.place?.hasPrefix("node ") == true ? error : error.at(origin.place)
            }
        }
        guard !isSequential else { return output }
        let names = Self.names(model["config"]?["output_layers"])
        if names.count > 1 {
            guard path.isEmpty else {
                throw DeMLError(
                    .malformed, "the model \(path.dropLast().description.quotedForMessage) has \(names.count) outputs",
                    hint: "models within a model have one output")
            }
            notes.append("only the first of \(names.count) outputs is taken: \(names[0].quotedForMessage)")
        }
        return names.first.flatMap { values[$0] } ?? output
    }

    /// The steps from the input to the output.
    func steps() throws(DeMLError) -> [Step] { try graph.steps(to: output) }

    private static func inputShape(_ layers: [JSONTree], _ given: [Int]?) throws(DeMLError) -> [Int] {
        let inputs = layers.filter { $0["class_name"]?.text == "InputLayer" }
        guard inputs.count <= 1 else {
            throw DeMLError(.malformed, "the model has \(inputs.count) inputs", hint: "models with one input are read")
        }
        guard let config = (inputs.first ?? layers.first)?["config"],
            let whole = config["batch_shape"]?.list ?? config["batch_input_shape"]?.list
        else {
            throw DeMLError(
                .shape, "the model does not say the shape of its input", hint: "give the first layer an Input(shape)")
        }
        let shape = try InputShape.completed(whole.dropFirst().map(\.int), given)
        guard (1...3).contains(shape.count), shape.allSatisfy({ $0 > 0 }) else {
            throw DeMLError(
                .shape, "the model's input has the shape \(shape)", hint: "one to three dimensions are read")
        }
        return shape.count == 3 ? [shape[2], shape[0], shape[1]] : shape
    }

    /// The names in `[["dense", 0, 0]]` or `["dense", 0, 0]`.
    private static func names(_ tree: JSONTree?) -> [String] {
        guard let list = tree?.list else { return [] }
        if let name = list.first?.text { return [name] }
        return list.flatMap { names($0) }
    }

    /// The values that a layer of a functional model is called with.
    /// - Returns: nil where it is called with the model's input.
    private func sources(
        of layer: JSONTree, _ origin: Step.Origin, among values: [String: Int]
    ) throws(DeMLError) -> [Int]? {
        let nodes = layer["inbound_nodes"]?.list ?? []
        guard nodes.count <= 1 else {
            throw origin.refusal("it is used \(nodes.count) times", hint: "a tree of layers uses each once")
        }
        guard let node = nodes.first else { return nil }
        var names: [String] = []
        if let arguments = node["args"] {
            Self.histories(arguments, depth: 0, &names)
        } else {
            names = Self.names(node)
        }
        var inputs: [Int] = []
        for name in names {
            guard let value = values[name] else {
                throw origin.refusal("its input \(name.quotedForMessage) is made nowhere before it", .missing)
            }
            inputs.append(value)
        }
        guard !inputs.isEmpty else { throw origin.refusal("it is called with something that is no value of the model") }
        return inputs
    }

    /// Keras 3 keeps tensors as objects with their history.
    private static func histories(_ tree: JSONTree, depth: Int, _ names: inout [String]) {
        guard depth < 8, names.count < 1000 else { return }
        if let name = tree["config"]?["keras_history"]?.list?.first?.text { return names.append(name) }
        for inner in tree.list ?? [] { histories(inner, depth: depth + 1, &names) }
    }
}

/// One layer of a Keras model.
struct KerasCall {
    let origin: Step.Origin
    let config: JSONTree
    let weights: [Tensor]
    let inputs: [Int]
    var graph: ImportGraph
    let isKeras3: Bool
    /// What was decided, for the person.
    private(set) var notes: [String] = []
    /// How many of the weights have become parameters.
    private var taken = 0

    init(
        origin: Step.Origin, config: JSONTree, weights: [Tensor], inputs: [Int], graph: ImportGraph, isKeras3: Bool
    ) {
        self.origin = origin
        self.config = config
        self.weights = weights
        self.inputs = inputs
        self.graph = graph
        self.isKeras3 = isKeras3
    }

    func refusal(_ message: String, hint: String? = nil) -> DeMLError { origin.refusal(message, hint: hint) }

    func data() throws(DeMLError) -> Int {
        guard inputs.count == 1 else { throw refusal("it has \(inputs.count) inputs") }
        return inputs[0]
    }

    func shape() throws(DeMLError) -> [Int] { graph.shape(of: try data()) }

    /// A weight with its axes in our order.
    func weight(_ index: Int, _ axes: [Int]? = nil) throws(DeMLError) -> Tensor {
        guard index < weights.count else {
            throw origin.refusal("it has \(weights.count) weights in the file, too few", .missing)
        }
        guard weights[index].dtype.isFloatingPoint else {
            throw origin.refusal("its weights are no floating-point numbers", .dtype)
        }
        guard weights[index].count > 0 else { throw origin.refusal("a weight of it is empty", .shape) }
        let plain = Tensor(shape: weights[index].shape, floats: try weights[index].floats())
        return try axes.map { (axes) throws(DeMLError) in try ConstantMath.transposed(plain, axes) } ?? plain
    }

    mutating func layer(_ layer: LayerSketch, behind value: Int? = nil) throws(DeMLError) -> Int {
        let input: Int
        if let value { input = value } else { input = try data() }
        var layer = layer
        // What Keras has no number for (a scale that is left out) is known by its place behind all that there are.
        for (name, _) in layer.parameters where layer.origins[name] == nil {
            guard taken < weights.count else { break }
            layer.origins[name] = "\(origin.name)/\(taken)"
            taken += 1
        }
        return try graph.add(layer, behind: input, origin)
    }

    /// What works in training alone.
    private static let ofTraining: Set<String> = [
        "ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise", "RandomBrightness",
        "RandomContrast", "RandomFlip", "RandomHue", "RandomRotation", "RandomSaturation", "RandomShear",
        "RandomTranslation", "RandomZoom", "SpatialDropout1D", "SpatialDropout2D",
    ]

    mutating func value() throws(DeMLError) -> Int {
        if Self.ofTraining.contains(origin.operation) {
            notes.append(
                "\(origin.name.quotedForMessage) (\(ForeignName.shown(origin.operation))) changes data in training alone and is left out"
            )
            return try data()
        }
        switch origin.operation {
        case "Dense", "Conv2D", "Conv1D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose":
            let value = try product()
            return try activated(value, config["activation"])
        case "Activation": return try activated(try data(), config["activation"])
        case "Dropout": return try layer(LayerSketch("dropout", ["p": .number(config["rate"]?.double ?? 0.5)]))
        case "Flatten": return try flattened(try data())
        case "Reshape":
            let target = config["target_shape"]?.ints ?? []
            // Squeeze and excite: [c] is [c, 1, 1].
            if target.count == 3, target[0] == 1, target[1] == 1 {
                let value = try flattened(try data())
                return try graph.add(.reshape, behind: value, shape: graph.shape(of: value) + [1, 1], origin)
            }
            guard target.count == 1 else {
                throw refusal("it makes the shape \(target)", hint: "no layer here does but flatten")
            }
            return try flattened(try data())
        case "Normalization": return try standardised()
        case "TimeDistributed":
            // Layers of vectors work on the last dimension of a sequence by themselves.
            let inner = config["layer"]
            guard let type = inner?["class_name"]?.text,
                ["Dense", "Activation", "Dropout", "LayerNormalization"].contains(type),
                try shape().count == 2
            else {
                throw refusal("it takes \(try shape()) step by step", hint: "TimeDistributed is known around Dense")
            }
            var call = KerasCall(
                origin: Step.Origin(name: origin.name, operation: type), config: inner?["config"] ?? .null,
                weights: weights, inputs: inputs, graph: graph, isKeras3: isKeras3)
            let value = try call.value()
            graph = call.graph
            return value
        case "ReLU":
            let slope = config["negative_slope"]?.double ?? 0
            let most = config["max_value"]?.double
            guard config["threshold"]?.double ?? 0 == 0, slope == 0 || most == nil, most == nil || most == 6 else {
                throw refusal(
                    "its threshold or max_value is that of no layer here", hint: "relu, relu6 and leaky_relu are known")
            }
            if most == 6 { return try layer(LayerSketch("relu6")) }
            return try layer(
                slope == 0 ? LayerSketch("relu") : LayerSketch("leaky_relu", ["negative_slope": .number(slope)]))
        case "LeakyReLU":
            let slope = config["negative_slope"]?.double ?? config["alpha"]?.double ?? 0.3
            return try layer(LayerSketch("leaky_relu", ["negative_slope": .number(slope)]))
        case "ELU": return try layer(LayerSketch("elu", ["alpha": .number(config["alpha"]?.double ?? 1)]))
        case "Softmax": return try activated(try data(), .text("softmax"))
        case "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization":
            return try normalization()
        case "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D",
            "UpSampling2D":
            return try window()
        case "MaxPooling1D", "AveragePooling1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "ZeroPadding1D":
            return try lineWindow()
        case "Rescaling":
            let value = try affine(.multiply, config["scale"] ?? .number(1), behind: try data())
            return try affine(.add, config["offset"] ?? .number(0), behind: value)
        case "Cropping2D":
            throw refusal("it cuts off a part", hint: "no layer here does")
        case "Embedding", "LSTM", "GRU", "Bidirectional": return try sequence()
        case "Add", "Multiply", "Subtract", "Concatenate": return try joined()
        default:
            throw refusal(
                "the layer is not known here",
                hint: "known are Dense, convolutions, pools, normalisations, activations, Add, Multiply and Concatenate"
            )
        }
    }

    /// (x - mean)/√variance, with what `adapt` has counted or the configuration says.
    private mutating func standardised() throws(DeMLError) -> Int {
        guard config["invert"]?.bool != true else { throw refusal("it inverts a normalisation") }
        func numbers(_ index: Int, _ key: String) throws(DeMLError) -> [Double] {
            if let number = config[key]?.double { return [number] }
            if let list = config[key]?.list { return list.flatMap { $0.list ?? [$0] }.compactMap(\.double) }
            return try weight(index).floats().map(Double.init)
        }
        let (mean, variance) = (try numbers(0, "mean"), try numbers(1, "variance"))
        guard !mean.isEmpty, mean.count == variance.count, variance.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
            throw refusal("its means and variances do not fit together")
        }
        // Keras divides by no less than its epsilon.
        let scale = variance.map { 1 / max($0.squareRoot(), 1e-7) }
        func tree(_ numbers: [Double]) -> JSONTree {
            numbers.count == 1 ? .number(numbers[0]) : .list(numbers.map(JSONTree.number))
        }
        let value = try affine(.add, tree(mean.map { -$0 }), behind: try data())
        return try affine(.multiply, tree(scale), behind: value)
    }

    /// A number for all, or one for each channel.
    private mutating func affine(_ kind: Step.Arithmetic, _ tree: JSONTree, behind value: Int) throws(DeMLError) -> Int
    {
        if let number = tree.double {
            if number == (kind == .add ? 0 : 1) { return value }
            return try graph.add(.function(ScalarFunction(kind, number)), behind: value, origin)
        }
        let shape = graph.shape(of: value)
        let numbers = (tree.list ?? []).compactMap(\.double)
        guard shape.count != 2, numbers.count == shape[0] else {
            throw refusal("its numbers do not fit the channels of \(shape)")
        }
        let inner = [numbers.count] + [Int](repeating: 1, count: shape.count - 1)
        return try graph.add(.constant(kind, numbers.map { Float($0) }, shape: inner), behind: value, origin)
    }

    // MARK: Sequences

    /// What works on the channels of a sequence. Keras has them last, as our recurrences do; ours that are of convolutions
    /// have them first. The turns on both sides vanish where two such layers follow each other.
    mutating func withChannelsFirst(
        _ body: (inout KerasCall, Int) throws(DeMLError) -> Int
    ) throws(DeMLError) -> Int {
        let value = try turned(try data())
        let made = try body(&self, value)
        return graph.shape(of: made).count == 2 ? try turned(made) : made
    }

    private mutating func turned(_ value: Int) throws(DeMLError) -> Int {
        let shape = graph.shape(of: value)
        guard shape.count == 2 else { throw refusal("it works on values of shape \(shape)") }
        return try graph.add(.transpose([1, 0]), behind: value, shape: [shape[1], shape[0]], origin)
    }

    // MARK: Activations

    mutating func activated(_ value: Int, _ tree: JSONTree?) throws(DeMLError) -> Int {
        guard let tree else { return value }
        // A function with options is an object.
        guard let name = tree.text ?? tree["class_name"]?.text ?? tree["config"]?.text else {
            throw refusal("its activation is none that there is")
        }
        let layers: [String: LayerSketch] = [
            "relu": LayerSketch("relu"), "sigmoid": LayerSketch("sigmoid"), "tanh": LayerSketch("tanh"),
            "softmax": LayerSketch("softmax"), "log_softmax": LayerSketch("log_softmax"), "elu": LayerSketch("elu"),
            "gelu": LayerSketch("gelu"), "silu": LayerSketch("silu"), "swish": LayerSketch("silu"),
            "softplus": LayerSketch("softplus"), "relu6": LayerSketch("relu6"), "hard_silu": LayerSketch("hard_swish"),
            "hard_swish": LayerSketch("hard_swish"),
            "leaky_relu": LayerSketch("leaky_relu", ["negative_slope": .number(0.2)]),
        ]
        if name == "linear" { return value }
        if name == "hard_sigmoid" {
            // Keras 2 computed 0.2·x + 0.5, ours is x/6 + 0.5.
            let input = isKeras3 ? value : try graph.add(.function(.multiply(1.2)), behind: value, origin)
            return try layer(LayerSketch("hard_sigmoid"), behind: input)
        }
        guard let sketch = layers[name] else {
            throw refusal(
                "its activation \(name.quotedForMessage) is not known here",
                hint: "known are \(layers.keys.sorted().joined(separator: ", "))")
        }
        if sketch.type.hasSuffix("softmax"), graph.shape(of: value).count > 2 {
            throw refusal(
                "its softmax works on values of shape \(graph.shape(of: value))",
                hint: "softmax is for the [classes], or [tokens, classes], at the model's end")
        }
        return try layer(sketch, behind: value)
    }

    // MARK: Shapes

    /// One dimension, in Keras's order: the channels last.
    mutating func flattened(_ value: Int) throws(DeMLError) -> Int {
        let shape = graph.shape(of: value)
        guard shape.count > 1 else { return value }
        var turned = value
        if shape.count == 3 {
            turned = try graph.add(
                .transpose([1, 2, 0]), behind: value, shape: [shape[1], shape[2], shape[0]], origin)
        }
        return try graph.add(.reshape, behind: turned, shape: [shape.reduce(1, *)], origin)
    }

    mutating func joined() throws(DeMLError) -> Int {
        guard inputs.count >= 2 else { throw refusal("it has \(inputs.count) inputs") }
        let shapes = inputs.map { graph.shape(of: $0) }
        var shape = shapes[0]
        let join: Step.Join
        switch origin.operation {
        case "Concatenate":
            let axis = config["axis"]?.int ?? -1
            guard shape.count != 2, axis == -1 || axis == shape.count,
                Set(shapes.map { Array($0.dropFirst()) }).count == 1
            else {
                throw refusal("it joins \(shapes) along axis \(axis)", hint: "concat joins channels, or features")
            }
            shape[0] = shapes.reduce(0) { $0.addingSaturated($1[0]) }
            join = .concat
        case "Add": join = .add
        case "Subtract": join = .subtract
        default: join = .multiply
        }
        if join != .concat {
            // A gate of channels is broadcast over height and width.
            let widest = shapes.max { $0.reduce(1, *) < $1.reduce(1, *) } ?? shape
            guard shapes.allSatisfy({ ConstantMath.broadcast(widest, $0) == widest && $0.count == widest.count }) else {
                throw refusal("values of shapes \(shapes) do not fit together")
            }
            shape = widest
        }
        return try graph.add(ImportGraph.Node(operation: .join(join), origin: origin, inputs: inputs, shape: shape))
    }
}
