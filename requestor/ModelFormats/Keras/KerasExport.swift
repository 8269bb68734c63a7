import NeuralNetwork
import Tensors

/// Writes a model as a `.keras` file of Keras 3: a functional model with the channels last.
public enum KerasExport {
    /// - Throws: `malformed` for a layer that Keras has none of.
    public static func encode(_ weights: Weights) throws(DeMLError) -> [UInt8] {
        let layers = try WalkedLayer.walk(weights)
        var writer = KerasWriter(inputShape: weights.model.inputShape, turnsSequences: KerasWriter.hasLines(layers))
        var value = writer.scaled(weights.model.input)
        value = try writer.chain(layers, value)
        let (config, file) = try writer.files(output: value)
        // Without the day, so that the same model gives the same bytes.
        let metadata = "{\"keras_version\":\"3.9.0\",\"date_saved\":\"1980-01-01@00:00:00\"}"
        return try ZipArchive.encode([
            ("metadata.json", Array(metadata.utf8)), ("config.json", config), ("model.weights.h5", file),
        ])
    }
}

/// The layers of a functional model, as they are added.
struct KerasWriter {
    private struct Entry {
        var type: String
        var name: String
        var config: [String: JSONTree]
        /// By the places below the layer where Keras keeps them: its own, its cell's, those of its two directions.
        var weights: [(place: [String], tensors: [Tensor])]
        var inputs: [Int]
        /// In Keras's order.
        var shape: [Int]
    }

    private var entries: [Entry] = []
    /// The path of the layer that is being written.
    private var place = ""
    /// Behind a flatten of an image: the channels and pixels of it, until a linear layer takes them.
    private var flattened: [Int: (channels: Int, pixels: Int)] = [:]

    /// Whether values of two dimensions are [channels, length], which convolutions make of them; Keras has the channels last.
    let turnsSequences: Bool

    init(inputShape: [Int], turnsSequences: Bool) {
        self.turnsSequences = turnsSequences
        let shape = Self.turned(inputShape, turnsSequences)
        entries = [
            Entry(
                type: "InputLayer", name: "input",
                config: ["batch_shape": .list([.null] + shape.map(JSONTree.integer))],
                weights: [], inputs: [], shape: shape)
        ]
    }

    private static func turned(_ shape: [Int], _ turnsSequences: Bool) -> [Int] {
        shape.count == 3 || shape.count == 2 && turnsSequences ? Array(shape.dropFirst()) + [shape[0]] : shape
    }

    /// Whether layers work on the channels of sequences.
    static func hasLines(_ layers: [WalkedLayer]) -> Bool {
        layers.contains { layer in
            layer.type.hasSuffix("1d") || layer.type == "batch_norm" && layer.input.count == 2
                || layer.branches.values.joined().contains(where: hasLines)
        }
    }

    /// Whether a value is an image or a sequence with channels, which are turned.
    private func hasChannels(_ shape: [Int]) -> Bool { shape.count == 3 || shape.count == 2 && turnsSequences }

    mutating func add(
        _ type: String, _ config: [String: JSONTree] = [:], _ weights: [Tensor] = [], behind inputs: [Int], shape: [Int]
    ) -> Int {
        add(type, config, in: [([], weights)], behind: inputs, shape: shape)
    }

    mutating func add(
        _ type: String, _ config: [String: JSONTree], in weights: [(place: [String], tensors: [Tensor])],
        behind inputs: [Int], shape: [Int]
    ) -> Int {
        // With the path of our layer, by which its numbers are found again.
        let name = "\(KerasFile.snakeCase(type))_\(entries.count)" + (place.isEmpty ? "" : "__\(place)")
        entries.append(
            Entry(
                type: type, name: name, config: config, weights: weights, inputs: inputs,
                shape: Self.turned(shape, turnsSequences)))
        if let first = inputs.first, entries[entries.count - 1].shape == entries[first].shape,
            let pending = flattened[first]
        {
            flattened[entries.count - 1] = pending
        }
        return entries.count - 1
    }

    /// (x/divide_by - mean)/std.
    mutating func scaled(_ input: ModelDescription.Input) -> Int {
        guard input.divideBy != 1 || !input.mean.isEmpty || !input.standardDeviation.isEmpty else { return 0 }
        let mean = input.mean.isEmpty ? [0] : input.mean
        let deviation = input.standardDeviation.isEmpty ? [1] : input.standardDeviation
        let count = max(mean.count, deviation.count)
        var (scales, offsets): ([JSONTree], [JSONTree]) = ([], [])
        for index in 0..<count {
            let (m, d) = (mean[mean.count == 1 ? 0 : index], deviation[deviation.count == 1 ? 0 : index])
            scales.append(.number(1 / (input.divideBy * d)))
            offsets.append(.number(-m / d))
        }
        return add(
            "Rescaling",
            ["scale": count == 1 ? scales[0] : .list(scales), "offset": count == 1 ? offsets[0] : .list(offsets)],
            behind: [0], shape: input.shape)
    }

    mutating func chain(_ layers: [WalkedLayer], _ value: Int) throws(DeMLError) -> Int {
        var value = value
        var index = 0
        while index < layers.count {
            let layer = layers[index]
            place = layer.name.replacing(".", with: "_")
            index += 1
            // What padding 'same' of a pool was read as is written so again.
            if index < layers.count, isSamePadding(layer, before: layers[index]) {
                let pool = layers[index]
                let count = pool.input.count - 1
                value = add(
                    "MaxPooling\(count)D",
                    [
                        "pool_size": .ints(pool.sizes("kernel_size", 1, count: count)),
                        "strides": .ints(strides(pool)), "padding": .text("same"),
                    ], behind: [value], shape: pool.output)
                index += 1
                continue
            }
            value = try add(layer, value)
        }
        return value
    }

    private func strides(_ pool: WalkedLayer) -> [Int] {
        pool.sizes(pool.options["stride"] == nil ? "kernel_size" : "stride", 1, count: pool.input.count - 1)
    }

    /// Whether a pad of the smallest numbers before a pool is what Keras's 'same' puts there.
    private func isSamePadding(_ pad: WalkedLayer, before pool: WalkedLayer) -> Bool {
        let count = pool.input.count - 1
        guard pad.type == "pad", pool.type.hasPrefix("max_pool"),
            pad.double("value", 0) <= -Double(Float.greatestFiniteMagnitude),
            pool.sizes("padding", 0, count: count).allSatisfy({ $0 == 0 }), let sides = pad.options["padding"]?.ints,
            sides.count == 2 * count
        else { return false }
        let (kernel, strides) = (pool.sizes("kernel_size", 1, count: count), strides(pool))
        return (0..<count).allSatisfy { axis in
            let same = SamePadding(size: pad.input[axis + 1], reach: kernel[axis], stride: strides[axis])
            let first = 2 * (count - 1 - axis)
            return sides[first] == same.less && sides[first + 1] == same.more
        }
    }

    /// Whether a pool's windows are those of Keras's 'same', where what is around the input counts for nothing.
    private func hasSameWindows(_ pool: WalkedLayer) -> Bool {
        let count = pool.input.count - 1
        let (kernel, strides) = (pool.sizes("kernel_size", 1, count: count), strides(pool))
        let padding = pool.sizes("padding", 0, count: count)
        return (0..<count).allSatisfy { axis in
            let same = SamePadding(size: pool.input[axis + 1], reach: kernel[axis], stride: strides[axis])
            return pool.output[axis + 1] == same.outputs && padding[axis] == same.less
        }
    }

    func refusal(_ layer: WalkedLayer, _ message: String) -> DeMLError {
        DeMLError(
            .malformed, message, place: "layer \(layer.name) (\(layer.type))", hint: "--to onnx or pytorch may do")
    }

    private mutating func add(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        func plain(_ type: String, _ config: [String: JSONTree] = [:], _ weights: [Tensor] = []) -> Int {
            add(type, config, weights, behind: [x], shape: layer.output)
        }
        func activation(_ name: String) -> Int { plain("Activation", ["activation": .text(name)]) }
        switch layer.type {
        case "relu", "sigmoid", "tanh", "silu", "hard_sigmoid", "softmax", "log_softmax": return activation(layer.type)
        case "hard_swish": return activation("hard_silu")
        case "relu6": return plain("ReLU", ["max_value": .number(6)])
        case "leaky_relu": return plain("LeakyReLU", ["negative_slope": .number(layer.double("negative_slope", 0.01))])
        case "elu": return plain("ELU", ["alpha": .number(layer.double("alpha", 1))])
        case "gelu" where layer.options["approximate"] == nil: return activation("gelu")
        case "softplus" where layer.double("beta", 1) == 1 && layer.double("threshold", 20) >= 17:
            return activation("softplus")
        case "rescaling":
            let (scale, offset) = layer.rescaling
            // Keras multiplies along its last axis: the channels, as here the first.
            func numbers(_ values: [Double]) -> JSONTree {
                values.count == 1 ? .number(values[0]) : .list(values.map(JSONTree.number))
            }
            guard layer.input.count != 2 || scale.count + offset.count == 2 else {
                throw refusal(layer, "for a sequence its numbers along the first dimension cannot be written for Keras")
            }
            return plain("Rescaling", ["scale": numbers(scale), "offset": numbers(offset)])
        case "dropout": return plain("Dropout", ["rate": .number(layer.double("p", 0.5))])
        case "flatten":
            let value = plain("Flatten")
            if hasChannels(layer.input) {
                flattened[value] = (layer.input[0], layer.input.dropFirst().reduce(1, *))
            }
            return value
        case "linear": return try linear(layer, x)
        case "embedding": return try embedding(layer, x)
        case "lstm", "gru": return try recurrence(layer, x)
        case "conv1d", "conv2d": return try convolution(layer, x)
        case "conv_transpose2d": return try transposed(layer, x)
        case "batch_norm", "layer_norm", "rms_norm", "group_norm": return try normalization(layer, x)
        case "max_pool2d", "avg_pool2d", "global_avg_pool2d", "adaptive_avg_pool2d", "upsample", "pad", "max_pool1d",
            "avg_pool1d", "adaptive_avg_pool1d":
            return try window(layer, x)
        case "residual":
            let body = try chain(layer.branches["layers"]?.first ?? [], x)
            let beside = try chain(layer.branches["projection"]?.first ?? [], x)
            place = layer.name.replacing(".", with: "_")
            return add("Add", behind: [body, beside], shape: layer.output)
        case "gate":
            let gate = try chain(layer.branches["layers"]?.first ?? [], x)
            place = layer.name.replacing(".", with: "_")
            return add("Multiply", behind: [x, gate], shape: layer.output)
        case "concat" where layer.output.count != 2 || turnsSequences:
            var parts: [Int] = []
            for branch in layer.branches["branches"] ?? [] { parts.append(try chain(branch, x)) }
            guard parts.count > 1 else { return parts[0] }
            place = layer.name.replacing(".", with: "_")
            return add("Concatenate", ["axis": .integer(-1)], behind: parts, shape: layer.output)
        default: throw refusal(layer, "the layer is not written for Keras")
        }
    }

    private mutating func linear(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        guard var weight = layer.parameters["weight"], !hasChannels(layer.input) else {
            throw refusal(layer, "it works on \(layer.input)")
        }
        let outputs = weight.shape[0]
        if let (channels, pixels) = flattened[x], channels > 1, pixels > 1 {
            weight = try ConstantMath.transposed(try weight.reshaped([outputs, channels, pixels]), [0, 2, 1])
                .reshaped([outputs, channels * pixels])
        }
        let kernel = try ConstantMath.transposed(weight, [1, 0])
        let bias = layer.parameters["bias"]
        return add(
            "Dense", ["units": .integer(outputs), "use_bias": .boolean(bias != nil)],
            [kernel] + (bias.map { [$0] } ?? []),
            behind: [x], shape: layer.output)
    }

    private mutating func padded(_ layer: WalkedLayer, _ x: Int, _ padding: [Int]) -> Int {
        guard padding.contains(where: { $0 > 0 }) else { return x }
        let shape = [layer.input[0]] + zip(layer.input.dropFirst(), padding).map { $0 + 2 * $1 }
        let outer = place
        defer { place = outer }
        place = ""
        return add(
            "ZeroPadding\(padding.count)D", ["padding": padding.count == 1 ? .integer(padding[0]) : .ints(padding)],
            behind: [x], shape: shape)
    }

    private mutating func convolution(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        guard let weight = layer.parameters["weight"] else { throw refusal(layer, "it has no weight") }
        let count = layer.type == "conv1d" ? 1 : 2
        let input = padded(layer, x, layer.sizes("padding", 0, count: count))
        let groups = layer.int("groups") ?? 1
        let channels = layer.input[0]
        let bias = layer.parameters["bias"]
        var config: [String: JSONTree] = [
            "kernel_size": .ints(layer.sizes("kernel_size", 1, count: count)),
            "strides": .ints(layer.sizes("stride", 1, count: count)),
            "dilation_rate": .ints(layer.sizes("dilation", 1, count: count)), "padding": .text("valid"),
            "use_bias": .boolean(bias != nil),
        ]
        let rest = bias.map { [$0] } ?? []
        if groups == channels, channels > 1, count == 2 {
            let multiplier = weight.shape[0] / channels
            let shape = [channels, multiplier] + weight.shape.dropFirst(2)
            config["depth_multiplier"] = .integer(multiplier)
            let kernel = try ConstantMath.transposed(try weight.reshaped(shape), [2, 3, 0, 1])
            return add("DepthwiseConv2D", config, [kernel] + rest, behind: [input], shape: layer.output)
        }
        config["filters"] = .integer(weight.shape[0])
        config["groups"] = .integer(groups)
        let kernel = try ConstantMath.transposed(weight, count == 1 ? [2, 1, 0] : [2, 3, 1, 0])
        return add("Conv\(count)D", config, [kernel] + rest, behind: [input], shape: layer.output)
    }

    /// All of the output, and what the padding takes away cut off behind it.
    private mutating func transposed(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        guard let weight = layer.parameters["weight"] else { throw refusal(layer, "it has no weight") }
        let (kernel, strides) = (layer.sizes("kernel_size", 1), layer.sizes("stride", 1))
        let (padding, more) = (layer.sizes("padding", 0), layer.sizes("output_padding", 0))
        guard layer.int("groups") ?? 1 == 1, layer.sizes("dilation", 1) == [1, 1],
            zip(kernel, strides).allSatisfy({ $0 >= $1 }),
            zip(padding, more).allSatisfy({ $0 >= $1 })
        else { throw refusal(layer, "its groups, dilation or output_padding are not written for Keras") }
        let bias = layer.parameters["bias"]
        let whole = [
            layer.output[0], layer.output[1] + 2 * padding[0] - more[0], layer.output[2] + 2 * padding[1] - more[1],
        ]
        let value = add(
            "Conv2DTranspose",
            [
                "filters": .integer(weight.shape[1]), "kernel_size": .ints(kernel), "strides": .ints(strides),
                "padding": .text("valid"), "use_bias": .boolean(bias != nil),
            ], [try ConstantMath.transposed(weight, [2, 3, 1, 0])] + (bias.map { [$0] } ?? []), behind: [x],
            shape: whole)
        guard padding != [0, 0] else { return value }
        let sides = (0..<2).map { JSONTree.ints([padding[$0], padding[$0] - more[$0]]) }
        place = ""
        return add("Cropping2D", ["cropping": .list(sides)], behind: [value], shape: layer.output)
    }

    private mutating func normalization(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        let isImage = layer.input.count == 3
        let hasChannels = hasChannels(layer.input)
        let count =
            isImage || layer.type == "batch_norm" || layer.type == "group_norm" ? layer.input[0] : layer.input.last ?? 0
        func parameter(_ key: String, _ value: Float) -> Tensor {
            layer.parameters[key] ?? Tensor(shape: [count], floats: [Float](repeating: value, count: count))
        }
        var config: [String: JSONTree] = ["axis": .integer(-1), "epsilon": .number(layer.double("eps", 1e-5))]
        let affine = [parameter("weight", 1), parameter("bias", 0)]
        switch layer.type {
        case "batch_norm":
            config["momentum"] = .number(1 - layer.double("momentum", 0.1))
            return add(
                "BatchNormalization", config, affine + [parameter("running_mean", 0), parameter("running_var", 1)],
                behind: [x], shape: layer.output)
        case "group_norm" where isImage:
            config["groups"] = .integer(layer.int("num_groups") ?? 1)
            return add("GroupNormalization", config, affine, behind: [x], shape: layer.output)
        case "layer_norm" where !hasChannels && affine[0].shape.count == 1:
            return add("LayerNormalization", config, affine, behind: [x], shape: layer.output)
        case "rms_norm" where !hasChannels && affine[0].shape.count == 1:
            config["epsilon"] = .number(layer.double("eps", Double(Float.ulpOfOne)))
            return add("RMSNormalization", config, [affine[0]], behind: [x], shape: layer.output)
        default: throw refusal(layer, "over \(layer.input) it is not written for Keras")
        }
    }

    private mutating func window(_ layer: WalkedLayer, _ x: Int) throws(DeMLError) -> Int {
        switch layer.type {
        case "global_avg_pool2d":
            return add("GlobalAveragePooling2D", ["keepdims": .boolean(true)], behind: [x], shape: layer.output)
        case "adaptive_avg_pool1d" where layer.output[1] == 1:
            return add("GlobalAveragePooling1D", ["keepdims": .boolean(true)], behind: [x], shape: layer.output)
        case "adaptive_avg_pool2d", "adaptive_avg_pool1d":
            let sizes = Array(zip(layer.input, layer.output).dropFirst())
            guard sizes.allSatisfy({ $0 % $1 == 0 }) else {
                throw refusal(layer, "its windows differ in size, which Keras has not")
            }
            let kernel = JSONTree.ints(sizes.map { $0 / $1 })
            return add(
                "AveragePooling\(sizes.count)D", ["pool_size": kernel, "strides": kernel], behind: [x],
                shape: layer.output)
        case "upsample":
            let factors =
                layer.options["scale_factor"]?.list?.compactMap(\.int) ?? layer.int("scale_factor").map { [$0, $0] }
                ?? []
            guard factors.count == 2 else { throw refusal(layer, "Keras resizes by whole factors only") }
            return add(
                "UpSampling2D",
                ["size": .ints(factors), "interpolation": .text(layer.options["mode"]?.text ?? "nearest")],
                behind: [x], shape: layer.output)
        case "pad":
            let given = layer.options["padding"]?.ints ?? [layer.int("padding") ?? 0]
            let sides = given.count == 1 ? [Int](repeating: given[0], count: 2 * (layer.input.count - 1)) : given
            guard layer.double("value", 0) == 0, hasChannels(layer.input) else {
                throw refusal(layer, "Keras pads images with zeros only")
            }
            if sides.count == 2 {
                return add("ZeroPadding1D", ["padding": .ints(sides)], behind: [x], shape: layer.output)
            }
            return add(
                "ZeroPadding2D", ["padding": .list([.ints([sides[2], sides[3]]), .ints([sides[0], sides[1]])])],
                behind: [x],
                shape: layer.output)
        default:
            let count = layer.type.hasSuffix("1d") ? 1 : 2
            let kernel = layer.sizes("kernel_size", 1, count: count)
            let padding = layer.sizes("padding", 0, count: count)
            let isMaximum = layer.type.hasPrefix("max")
            let hasPadding = padding.contains { $0 > 0 }
            let name = (isMaximum ? "MaxPooling" : "AveragePooling") + "\(count)D"
            var config: [String: JSONTree] = ["pool_size": .ints(kernel), "strides": .ints(strides(layer))]
            let countsPadding = hasPadding && !isMaximum && layer.bool("count_include_pad", true)
            if hasPadding && !countsPadding || layer.bool("ceil_mode", false) {
                guard !countsPadding, hasSameWindows(layer) else {
                    throw refusal(layer, "Keras has no pool with these windows: its padding is 'same' or 'valid'")
                }
                config["padding"] = .text("same")
                return add(name, config, behind: [x], shape: layer.output)
            }
            config["padding"] = .text("valid")
            return add(name, config, behind: [padded(layer, x, padding)], shape: layer.output)
        }
    }

    // MARK: The files

    /// config.json and model.weights.h5.
    func files(output: Int) throws(DeMLError) -> (config: [UInt8], weights: [UInt8]) {
        var layers: [JSONTree] = []
        var groups: [(name: String, node: HDF5Writer.Node)] = []
        var counts: [String: Int] = [:]
        for index in order(output: output) {
            let entry = entries[index]
            var config = entry.config
            config["name"] = .text(entry.name)
            if entry.type != "InputLayer" { config["trainable"] = .boolean(true) }
            config["dtype"] = .text("float32")
            let tensors = entry.inputs.map(tensor)
            let isJoin = ["Add", "Multiply", "Concatenate"].contains(entry.type)
            let call: JSONTree = .mapping(["args": .list(isJoin ? [.list(tensors)] : tensors), "kwargs": .mapping([:])])
            layers.append(
                .mapping([
                    "module": .text("keras.layers"), "class_name": .text(entry.type), "config": .mapping(config),
                    "registered_name": .null, "name": .text(entry.name),
                    "inbound_nodes": .list(entry.inputs.isEmpty ? [] : [call]),
                ]))
            let key = KerasFile.snakeCase(entry.type)
            let number = counts[key, default: 0]
            counts[key] = number + 1
            groups.append(
                (
                    number == 0 ? key : "\(key)_\(number)",
                    .group(entry.weights.map { Self.group($0.place[...], $0.tensors) })
                ))
        }
        func history(_ index: Int) -> JSONTree { .list([.text(entries[index].name), .integer(0), .integer(0)]) }
        let config: JSONTree = .mapping([
            "module": .text("keras.src.models.functional"), "class_name": .text("Functional"),
            "registered_name": .text("Functional"),
            "config": .mapping([
                "name": .text("model"), "trainable": .boolean(true), "layers": .list(layers),
                "input_layers": .list([history(0)]), "output_layers": .list([history(output)]),
            ]),
        ])
        let file = try HDF5Writer.encode(.group([("layers", .group(groups)), ("vars", .group([]))]))
        return (Array(canonicalJSON(config).utf8), file)
    }

    /// `vars` with the arrays, within a group for each part of the place.
    private static func group(_ place: ArraySlice<String>, _ tensors: [Tensor]) -> (name: String, node: HDF5Writer.Node)
    {
        if let outer = place.first { return (outer, .group([group(place.dropFirst(), tensors)])) }
        return ("vars", .group(tensors.enumerated().map { ("\($0.offset)", .dataset($0.element)) }))
    }

    private func tensor(_ index: Int) -> JSONTree {
        let entry = entries[index]
        return .mapping([
            "class_name": .text("__keras_tensor__"),
            "config": .mapping([
                "shape": .list([.null] + entry.shape.map(JSONTree.integer)), "dtype": .text("float32"),
                "keras_history": .list([.text(entry.name), .integer(0), .integer(0)]),
            ]),
        ])
    }

    /// The order in which Keras lists the layers of a model that it builds from this, by which it finds their weights
    /// (keras.src.ops.function.map_graph): the farthest from the output first; of equals the one that a walk from the output
    /// meets first.
    private func order(output: Int) -> [Int] {
        var depths = [Int](repeating: 0, count: entries.count)
        for index in entries.indices.reversed() {
            for input in entries[index].inputs { depths[input] = max(depths[input], depths[index] + 1) }
        }
        var numbers: [Int: Int] = [:]
        var waiting = [output]
        while let next = waiting.popLast() {
            guard numbers[next] == nil else { continue }
            numbers[next] = numbers.count
            waiting += entries[next].inputs.reversed()
        }
        return numbers.keys.sorted { first, second in
            depths[first] != depths[second]
                ? depths[first] > depths[second] : numbers[first] ?? 0 < numbers[second] ?? 0
        }
    }
}
