import Foundation
import NeuralNetwork
import Tensors

/// Writes a model as an ONNX file: opset 20, float32, an input and an output with an open batch.
public enum ONNXExport {
    static let version = 20

    /// - Throws: `malformed` for a layer that has no operators.
    public static func encode(_ weights: Weights) throws(DeMLError) -> [UInt8] {
        var graph = ONNXGraphWriter()
        let input = weights.model.input
        var value = "input"
        value = graph.scaled(value, input)
        let layers = try WalkedLayer.walk(weights)
        value = try graph.chain(layers, value)
        if value == "input" { value = graph.node("Identity", [value]) }
        var file = ProtobufWriter()
        file.int(1, 9)  // the version of the format that came with opset 20
        file.text(2, "DeML")
        file.message(7) { body in
            for node in graph.nodes { body.bytes(1, node) }
            body.text(2, "model")
            for tensor in graph.initializers { body.bytes(5, tensor) }
            body.bytes(11, Self.value("input", input.shape, type: layers.first?.type == "embedding" ? 7 : 1))
            body.bytes(12, Self.value(value, weights.model.outputShape, type: 1))
        }
        file.message(8) { $0.int(2, version) }
        return file.bytes
    }

    private static func value(_ name: String, _ shape: [Int], type kind: Int) -> [UInt8] {
        var value = ProtobufWriter()
        value.text(1, name)
        value.message(2) { type in
            type.message(1) { tensor in
                tensor.int(1, kind)
                tensor.message(2) { sizes in
                    sizes.message(1) { $0.text(2, "batch") }
                    for size in shape { sizes.message(1) { $0.int(1, size) } }
                }
            }
        }
        return value.bytes
    }
}

/// The nodes and tensors of a graph, as they are added.
struct ONNXGraphWriter {
    private(set) var nodes: [[UInt8]] = []
    private(set) var initializers: [[UInt8]] = []
    private var count = 0
    /// The table of the model's embedding, for a head that shares it.
    var embeddingWeight: String?

    enum Attribute {
        case int(Int)
        case float(Double)
        case ints([Int])
        case text(String)
    }

    /// Adds a node; the name of its output.
    mutating func node(_ operation: String, _ inputs: [String], _ attributes: [(String, Attribute)] = []) -> String {
        node(operation, inputs, attributes, second: nil)
    }

    /// - Parameter second: the name of its second output, where that is wanted.
    mutating func node(
        _ operation: String, _ inputs: [String], _ attributes: [(String, Attribute)], second: String?
    ) -> String {
        count += 1
        let output = "\(operation.lowercased())_\(count)"
        var node = ProtobufWriter()
        for input in inputs { node.text(1, input) }
        node.text(2, output)
        if let second { node.text(2, second) }
        node.text(3, output)
        node.text(4, operation)
        for (name, attribute) in attributes {
            node.message(5) { body in
                body.text(1, name)
                switch attribute {
                case .float(let value):
                    body.float(2, Float(value))
                    body.int(20, 1)
                case .int(let value):
                    body.int(3, value)
                    body.int(20, 2)
                case .text(let value):
                    body.text(4, value)
                    body.int(20, 3)
                case .ints(let values):
                    for value in values { body.int(8, value) }
                    body.int(20, 7)
                }
            }
        }
        nodes.append(node.bytes)
        return output
    }

    /// Adds a tensor; its name.
    mutating func tensor(_ name: String, _ shape: [Int], floats: [Float]) -> String {
        add(name, shape, type: 1) { $0.bytes(9, Tensor(shape: shape, floats: floats).bytes) }
    }

    mutating func tensor(_ name: String, ints: [Int]) -> String {
        add(name, [ints.count], type: 7) {
            $0.bytes(9, Tensor(shape: [ints.count], int64s: ints.map(Int64.init)).bytes)
        }
    }

    mutating func number(_ value: Double) -> String {
        count += 1
        return tensor("constant_\(count)", [], floats: [Float(value)])
    }

    /// One number for all, or one for each channel of what comes into a layer.
    private mutating func channels(_ values: [Double], of layer: WalkedLayer) -> String {
        guard values.count > 1 else { return number(values[0]) }
        count += 1
        let shape = [values.count] + [Int](repeating: 1, count: layer.input.count - 1)
        return tensor("constant_\(count)", shape, floats: values.map(Float.init))
    }

    mutating func scalar(_ value: Int) -> String {
        count += 1
        return add("index_\(count)", [], type: 7) { $0.bytes(9, Tensor(shape: [], int64s: [Int64(value)]).bytes) }
    }

    mutating func ints(_ values: [Int]) -> String {
        count += 1
        return tensor("shape_\(count)", ints: values)
    }

    private mutating func add(
        _ name: String, _ shape: [Int], type: Int, _ content: (inout ProtobufWriter) -> Void
    ) -> String {
        var tensor = ProtobufWriter()
        for size in shape { tensor.int(1, size) }
        tensor.int(2, type)
        tensor.text(8, name)
        content(&tensor)
        initializers.append(tensor.bytes)
        return name
    }

    // MARK: A model

    /// (x/divide_by - mean)/std.
    mutating func scaled(_ value: String, _ input: ModelDescription.Input) -> String {
        var value = value
        func constant(_ numbers: [Double], _ name: String) -> String {
            guard numbers.count > 1 else { return number(numbers[0]) }
            let shape = [numbers.count] + [Int](repeating: 1, count: input.shape.count - 1)
            return tensor(name, shape, floats: numbers.map { Float($0) })
        }
        if input.divideBy != 1 { value = node("Div", [value, number(input.divideBy)]) }
        if !input.mean.isEmpty { value = node("Sub", [value, constant(input.mean, "mean")]) }
        if !input.standardDeviation.isEmpty { value = node("Div", [value, constant(input.standardDeviation, "std")]) }
        return value
    }

    mutating func chain(_ layers: [WalkedLayer], _ value: String) throws(DeMLError) -> String {
        var value = value
        for layer in layers { value = try add(layer, value) }
        return value
    }

    /// A parameter under its own name.
    mutating func parameter(_ layer: WalkedLayer, _ key: String, _ shape: [Int]? = nil) throws(DeMLError)
        -> String?
    {
        guard let tensor = layer.parameters[key] else { return nil }
        return self.tensor("\(layer.name).\(key)", shape ?? tensor.shape, floats: try tensor.floats())
    }

    private mutating func add(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        switch layer.type {
        case "flatten": return node("Flatten", [x], [("axis", .int(1))])
        case "relu": return node("Relu", [x])
        case "relu6": return node("Clip", [x, number(0), number(6)])
        case "leaky_relu": return node("LeakyRelu", [x], [("alpha", .float(layer.double("negative_slope", 0.01)))])
        case "sigmoid": return node("Sigmoid", [x])
        case "tanh": return node("Tanh", [x])
        case "silu": return node("Mul", [x, node("Sigmoid", [x])])
        case "hard_sigmoid": return node("HardSigmoid", [x], [("alpha", .float(1.0 / 6)), ("beta", .float(0.5))])
        case "hard_swish": return node("HardSwish", [x])
        case "elu": return node("Elu", [x], [("alpha", .float(layer.double("alpha", 1)))])
        case "gelu":
            return node("Gelu", [x], [("approximate", .text(layer.options["approximate"]?.text ?? "none"))])
        case "softplus":
            let (beta, threshold) = (layer.double("beta", 1), layer.double("threshold", 20))
            let scaled = beta == 1 ? x : node("Mul", [x, number(beta)])
            let plus = node("Softplus", [scaled])
            let smooth = beta == 1 ? plus : node("Div", [plus, number(beta)])
            // From 17 on single precision knows no difference.
            guard threshold < 17 else { return smooth }
            return node("Where", [node("Greater", [scaled, number(threshold)]), x, smooth])
        case "softmax": return node("Softmax", [x], [("axis", .int(-1))])
        case "log_softmax": return node("LogSoftmax", [x], [("axis", .int(-1))])
        case "dropout": return node("Dropout", [x, number(layer.double("p", 0.5))])
        case "rescaling":
            let (scale, offset) = layer.rescaling
            return node("Add", [node("Mul", [x, channels(scale, of: layer)]), channels(offset, of: layer)])
        case "linear": return try linear(layer, x)
        case "conv1d", "conv2d", "conv_transpose2d": return try convolution(layer, x)
        case "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d":
            let count = layer.type.hasSuffix("1d") ? 1 : 2
            let kernel = layer.sizes("kernel_size", 1, count: count)
            let padding = layer.sizes("padding", 0, count: count)
            let strides = layer.options["stride"] == nil ? kernel : layer.sizes("stride", 1, count: count)
            let isMaximum = layer.type.hasPrefix("max")
            // How far the last windows reach beyond the end. Where nothing there counts that is padding: what ONNX's own
            // tools make of ceil_mode differs where a window would begin in the padding.
            let rest = (0..<count).map { axis in
                PoolWindows.rest(
                    outputs: layer.output[axis + 1], kernel: kernel[axis], stride: strides[axis], begin: padding[axis],
                    size: layer.input[axis + 1])
            }
            let isCeil = layer.bool("ceil_mode", false)
            let counts = !isMaximum && layer.bool("count_include_pad", true) && padding.contains { $0 > 0 }
            var attributes: [(String, Attribute)] = [
                ("kernel_shape", .ints(kernel)), ("strides", .ints(strides)),
                ("pads", .ints(padding + (isCeil && !counts ? rest : padding))),
            ]
            if counts, zip(rest, padding).contains(where: { $0 > $1 }) { attributes.append(("ceil_mode", .int(1))) }
            if counts || !isMaximum && !isCeil && layer.bool("count_include_pad", true) {
                attributes.append(("count_include_pad", .int(1)))
            }
            return node(isMaximum ? "MaxPool" : "AveragePool", [x], attributes)
        case "global_avg_pool2d": return node("GlobalAveragePool", [x])
        case "adaptive_avg_pool1d" where layer.output[1] == 1: return node("GlobalAveragePool", [x])
        case "adaptive_avg_pool2d", "adaptive_avg_pool1d": return adaptive(layer, x)
        case "upsample": return upsample(layer, x)
        case "pad":
            let given = layer.options["padding"]?.ints ?? [layer.int("padding") ?? 0]
            let sides = given.count == 1 ? [Int](repeating: given[0], count: 2 * (layer.input.count - 1)) : given
            let isImage = layer.input.count == 3
            let begin = isImage ? [sides[2], sides[0]] : [sides[0]]
            let end = isImage ? [sides[3], sides[1]] : [sides[1]]
            return node("Pad", [x, ints([0, 0] + begin + [0, 0] + end), number(layer.double("value", 0))])
        case "batch_norm", "layer_norm", "rms_norm", "group_norm": return try normalization(layer, x)
        case "embedding": return try embedding(layer, x)
        case "tied_linear": return try tiedLinear(layer, x)
        case "positional_embedding": return try positions(layer, x)
        case "attention": return try attention(layer, x)
        case "lstm", "gru": return try recurrence(layer, x)
        case "residual":
            let body = try chain(layer.branches["layers"]?.first ?? [], x)
            let beside = try chain(layer.branches["projection"]?.first ?? [], x)
            return node("Add", [body, beside])
        case "gate": return node("Mul", [x, try chain(layer.branches["layers"]?.first ?? [], x)])
        case "concat":
            var parts: [String] = []
            for branch in layer.branches["branches"] ?? [] { parts.append(try chain(branch, x)) }
            return node("Concat", parts, [("axis", .int(1))])
        default:
            throw DeMLError(
                .malformed, "the layer \(layer.type) has no ONNX operators that are written here",
                place: "layer \(layer.name)", hint: "--to pytorch or --to safetensors may have")
        }
    }

    private mutating func linear(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        guard let weight = layer.parameters["weight"] else { throw DeMLError(.internal, "linear has no weight") }
        if layer.input.count == 1 {
            let inputs = [x, try parameter(layer, "weight"), try parameter(layer, "bias")]
            return node("Gemm", inputs.compactMap { $0 }, [("transB", .int(1))])
        }
        let turned = try ConstantMath.transposed(weight, [1, 0])
        let matrix = tensor("\(layer.name).weight", turned.shape, floats: try turned.floats())
        let product = node("MatMul", [x, matrix])
        guard let bias = try parameter(layer, "bias") else { return product }
        return node("Add", [product, bias])
    }

    private mutating func convolution(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        let count = layer.type == "conv1d" ? 1 : 2
        let kernel = layer.sizes("kernel_size", 1, count: count)
        let padding = layer.sizes("padding", 0, count: count)
        var attributes: [(String, Attribute)] = [
            ("kernel_shape", .ints(kernel)), ("strides", .ints(layer.sizes("stride", 1, count: count))),
            ("pads", .ints(padding + padding)), ("dilations", .ints(layer.sizes("dilation", 1, count: count))),
            ("group", .int(layer.int("groups") ?? 1)),
        ]
        let isTransposed = layer.type == "conv_transpose2d"
        if isTransposed { attributes.append(("output_padding", .ints(layer.sizes("output_padding", 0)))) }
        let inputs = [x, try parameter(layer, "weight"), try parameter(layer, "bias")]
        return node(isTransposed ? "ConvTranspose" : "Conv", inputs.compactMap { $0 }, attributes)
    }

    /// Means of windows of different sizes are a product with a constant matrix, of images two.
    private mutating func adaptive(_ layer: WalkedLayer, _ x: String) -> String {
        func means(_ size: Int, _ windows: Int) -> [[Float]] {
            (0..<windows).map { window in
                let start = window * size / windows
                let end = ((window + 1) * size + windows - 1) / windows
                return (0..<size).map { (start..<end).contains($0) ? 1 / Float(end - start) : 0 }
            }
        }
        var value = x
        if layer.input.count == 3 {
            let rows = means(layer.input[1], layer.output[1])
            let left = tensor(
                "\(layer.name).rows", [layer.output[1], layer.input[1]], floats: rows.flatMap { $0 })
            value = node("MatMul", [left, x])
        }
        let (width, windows) = (layer.input[layer.input.count - 1], layer.output[layer.output.count - 1])
        let columns = means(width, windows)
        let turned = (0..<width).flatMap { column in columns.map { $0[column] } }
        return node("MatMul", [value, tensor("\(layer.name).columns", [width, windows], floats: turned)])
    }

    private mutating func upsample(_ layer: WalkedLayer, _ x: String) -> String {
        let isBilinear = layer.options["mode"]?.text == "bilinear"
        let attributes: [(String, Attribute)] = [
            ("mode", .text(isBilinear ? "linear" : "nearest")),
            ("coordinate_transformation_mode", .text(isBilinear ? "half_pixel" : "asymmetric")),
            ("nearest_mode", .text("floor")),
        ]
        if let factors = layer.options["scale_factor"] {
            let list = factors.list?.compactMap(\.double) ?? [Double](repeating: factors.double ?? 1, count: 2)
            count += 1
            let scales = tensor("scales_\(count)", [4], floats: [1, 1] + list.map { Float($0) })
            return node("Resize", [x, "", scales], attributes)
        }
        // The batch is open, so that only height and width are said.
        let sizes = ints(Array(layer.output.dropFirst()))
        return node("Resize", [x, "", "", sizes], attributes + [("axes", .ints([2, 3]))])
    }

    private mutating func normalization(_ layer: WalkedLayer, _ x: String) throws(DeMLError) -> String {
        let channels = layer.input[0]
        func constant(_ key: String, _ value: Float, _ shape: [Int]) throws(DeMLError) -> String {
            if let name = try parameter(layer, key, shape) { return name }
            count += 1
            return tensor("\(layer.name).\(key)", shape, floats: [Float](repeating: value, count: shape.reduce(1, *)))
        }
        let epsilon = layer.double("eps", layer.type == "rms_norm" ? Double(Float.ulpOfOne) : 1e-5)
        switch layer.type {
        case "batch_norm":
            let inputs = [
                x, try constant("weight", 1, [channels]), try constant("bias", 0, [channels]),
                try constant("running_mean", 0, [channels]), try constant("running_var", 1, [channels]),
            ]
            return node(
                "BatchNormalization", inputs,
                [("epsilon", .float(epsilon)), ("momentum", .float(1 - layer.double("momentum", 0.1)))])
        case "group_norm":
            let groups = layer.int("num_groups") ?? 1
            let rows = node("Reshape", [x, ints([0, groups, -1])])
            let ones = tensor("\(layer.name).one", [groups], floats: [Float](repeating: 1, count: groups))
            let zeros = tensor("\(layer.name).zero", [groups], floats: [Float](repeating: 0, count: groups))
            let normal = node("InstanceNormalization", [rows, ones, zeros], [("epsilon", .float(epsilon))])
            let back = node("Reshape", [normal, ints([0] + layer.input)])
            guard layer.bool("affine", true) else { return back }
            let shape = [channels] + [Int](repeating: 1, count: layer.input.count - 1)
            let scaled = node("Mul", [back, try constant("weight", 1, shape)])
            return node("Add", [scaled, try constant("bias", 0, shape)])
        default:
            let shape =
                layer.options["normalized_shape"]?.ints ?? layer.int("normalized_shape").map { [$0] } ?? layer.input
            if layer.type == "layer_norm" {
                var inputs = [x, try constant("weight", 1, shape)]
                if layer.parameters["bias"] != nil { inputs.append(try constant("bias", 0, shape)) }
                return node(
                    "LayerNormalization", inputs, [("axis", .int(-shape.count)), ("epsilon", .float(epsilon))])
            }
            let axes = ints((1...shape.count).map { -$0 }.sorted())
            let square = node("Pow", [x, number(2)])
            let mean = node("ReduceMean", [square, axes], [("keepdims", .int(1))])
            let root = node("Sqrt", [node("Add", [mean, number(epsilon)])])
            let normal = node("Div", [x, root])
            guard layer.parameters["weight"] != nil else { return normal }
            return node("Mul", [normal, try constant("weight", 1, shape)])
        }
    }
}
