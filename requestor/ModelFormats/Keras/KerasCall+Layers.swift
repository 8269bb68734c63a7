import NeuralNetwork
import Tensors

extension KerasCall {
    private func sizes(_ key: String, _ standard: Int, count: Int = 2) throws(DeMLError) -> [Int] {
        let sizes =
            config[key]?.ints ?? [Int](repeating: config[key]?.int ?? standard, count: count)
        guard sizes.count == count, sizes.allSatisfy({ (1..<1 << 16).contains($0) }) else {
            throw refusal("its \(key) \(sizes) is out of range")
        }
        return sizes
    }

    private func requireChannelsLast() throws(DeMLError) {
        guard config["data_format"]?.text ?? "channels_last" == "channels_last" else {
            throw refusal("its data_format is channels_first", hint: "models with the channels last are read")
        }
    }

    /// What padding 'same' puts around: [begin…, end…]; nothing for 'valid'.
    private func same(_ shape: [Int], _ kernel: [Int], _ strides: [Int], _ dilations: [Int]) throws(DeMLError) -> [Int]
    {
        switch config["padding"]?.text ?? "valid" {
        case "valid": return [Int](repeating: 0, count: 2 * kernel.count)
        case "same":
            var (begins, ends): ([Int], [Int]) = ([], [])
            for axis in kernel.indices {
                let reach = (kernel[axis] - 1) * dilations[axis] + 1
                let same = SamePadding(size: shape[axis + 1], reach: reach, stride: strides[axis])
                begins.append(same.less)
                ends.append(same.more)
            }
            return begins + ends
        case let word: throw refusal("its padding is \(word.quotedForMessage)", hint: "'same' and 'valid' are known")
        }
    }

    /// Puts unequal padding into a layer of its own; the rest is the convolution's.
    private mutating func padded(
        _ value: Int, _ pads: [Int], _ options: inout [String: JSONTree], value number: Double = 0
    ) throws(DeMLError) -> Int {
        let half = pads.count / 2
        if pads[..<half] == pads[half...], number == 0 {
            options["padding"] = .size(Array(pads[..<half]))
            return value
        }
        guard pads.contains(where: { $0 > 0 }) else { return value }
        let sides = (0..<half).reversed().flatMap { [pads[$0], pads[half + $0]] }
        return try layer(LayerSketch("pad", ["padding": .ints(sides), "value": .number(number)]), behind: value)
    }

    // MARK: Products

    mutating func product() throws(DeMLError) -> Int {
        let hasBias = config["use_bias"]?.bool ?? true
        let value = try data()
        let shape = graph.shape(of: value)
        if origin.operation == "Dense" {
            guard shape.count < 3 else {
                throw refusal("it works on the channels of an image", hint: "Conv2D with kernel_size 1 does the same")
            }
            let kernel = try weight(0, [1, 0])
            return try layer(
                LayerSketch(
                    "linear", ["out_features": .integer(kernel.shape[0]), "bias": .boolean(hasBias)],
                    [("weight", kernel)] + (hasBias ? [("bias", try weight(1))] : [])))
        }
        try requireChannelsLast()
        switch origin.operation {
        case "Conv1D":
            let kernel = try weight(0, [2, 1, 0])
            let bias = hasBias ? try weight(1) : nil
            let groups = config["groups"]?.int ?? 1
            return try withChannelsFirst { (call, value) throws(DeMLError) in
                try call.convolution(kernel, bias: bias, groups: groups, behind: value)
            }
        case "Conv2DTranspose": return try transposed(hasBias)
        case "SeparableConv2D":
            // A kernel for each channel, then one of a single pixel.
            let depth = try depthwise(try weight(0), bias: nil)
            let point = try weight(1, [3, 2, 0, 1])
            return try layer(
                LayerSketch(
                    "conv2d",
                    ["out_channels": .integer(point.shape[0]), "kernel_size": .integer(1), "bias": .boolean(hasBias)],
                    [("weight", point)] + (hasBias ? [("bias", try weight(2))] : [])), behind: depth)
        case "DepthwiseConv2D": return try depthwise(try weight(0), bias: hasBias ? try weight(1) : nil)
        default: break
        }
        let kernel = try weight(0, [3, 2, 0, 1])
        return try convolution(kernel, bias: hasBias ? try weight(1) : nil, groups: config["groups"]?.int ?? 1)
    }

    /// A kernel `[kh, kw, in, multiplier]`.
    private mutating func depthwise(_ kernel: Tensor, bias: Tensor?) throws(DeMLError) -> Int {
        guard kernel.shape.count == 4 else { throw refusal("its kernel has the shape \(kernel.shape)") }
        let turned = try ConstantMath.transposed(kernel, [2, 3, 0, 1])
        let channels = kernel.shape[2]
        return try convolution(
            try turned.reshaped([channels * kernel.shape[3], 1, kernel.shape[0], kernel.shape[1]]), bias: bias,
            groups: channels)
    }

    /// A kernel `[out, in/groups, kh, kw]`, of a sequence `[out, in/groups, k]`.
    private mutating func convolution(
        _ kernel: Tensor, bias: Tensor?, groups: Int, behind given: Int? = nil
    ) throws(DeMLError) -> Int {
        let value: Int
        if let given { value = given } else { value = try data() }
        let shape = graph.shape(of: value)
        guard kernel.shape.count == shape.count + 1, (3...4).contains(kernel.shape.count),
            kernel.shape.allSatisfy({ $0 < 1 << 16 })
        else { throw refusal("it works on values of shape \(shape)") }
        let strides = try sizes("strides", 1, count: shape.count - 1)
        let dilations = try sizes("dilation_rate", 1, count: shape.count - 1)
        let size = Array(kernel.shape.dropFirst(2))
        var options: [String: JSONTree] = [
            "out_channels": .integer(kernel.shape[0]), "kernel_size": .size(size), "stride": .size(strides),
            "dilation": .size(dilations), "groups": .integer(groups), "bias": .boolean(bias != nil),
        ]
        let input = try padded(value, try same(shape, size, strides, dilations), &options)
        return try layer(
            LayerSketch(
                shape.count == 2 ? "conv1d" : "conv2d", options,
                [("weight", kernel)] + (bias.map { [("bias", $0)] } ?? [])),
            behind: input)
    }

    /// Keras cuts off what does not fit 'same', the larger half at the end. Where the halves differ, a kernel with a row of
    /// zeros before it gives the same numbers with equal halves.
    private mutating func transposed(_ hasBias: Bool) throws(DeMLError) -> Int {
        var kernel = try weight(0, [3, 2, 0, 1])
        guard kernel.shape.count == 4, config["output_padding"] == nil, try sizes("dilation_rate", 1) == [1, 1] else {
            throw refusal("it has an output_padding or a dilation")
        }
        let strides = try sizes("strides", 1)
        let isSame = config["padding"]?.text == "same"
        var (padding, more) = ([0, 0], [0, 0])
        for axis in 0..<2 {
            let size = kernel.shape[2 + axis]
            let surplus = size - strides[axis]
            guard isSame || surplus < 0 else { continue }
            if surplus < 0 {
                more[axis] = -surplus
                continue
            }
            if surplus % 2 == 1 { kernel = try ConstantMath.withZeros(kernel, 1, before: 2 + axis) }
            padding[axis] = (surplus + 1) / 2
        }
        let options: [String: JSONTree] = [
            "out_channels": .integer(kernel.shape[1]), "kernel_size": .size(Array(kernel.shape.dropFirst(2))),
            "stride": .size(strides), "padding": .size(padding), "output_padding": .size(more),
            "bias": .boolean(hasBias),
        ]
        return try layer(
            LayerSketch("conv_transpose2d", options, [("weight", kernel)] + (hasBias ? [("bias", try weight(1))] : [])))
    }

    // MARK: Normalisations

    mutating func normalization() throws(DeMLError) -> Int {
        let shape = try shape()
        let epsilon = JSONTree.number(config["epsilon"]?.double ?? 1e-3)
        let axis = config["axis"]?.int ?? config["axis"]?.ints?.first ?? -1
        guard axis == -1 || axis == shape.count, config["axis"]?.ints?.count ?? 1 == 1 else {
            throw refusal("it normalises along the axis \(axis)", hint: "the last axis, that of the channels, is known")
        }
        let hasScale = config["scale"]?.bool ?? true
        let hasCenter = (config["center"]?.bool ?? true) && origin.operation != "RMSNormalization"
        let count = shape.count == 3 ? shape[0] : shape.last ?? 0
        func filled(_ value: Float) -> Tensor {
            Tensor(shape: [count], floats: [Float](repeating: value, count: count))
        }
        let scale = hasScale ? try weight(0) : filled(1)
        let center = hasCenter ? try weight(hasScale ? 1 : 0) : filled(0)
        let next = (hasScale ? 1 : 0) + (hasCenter ? 1 : 0)
        let affine = [(name: "weight", tensor: scale), (name: "bias", tensor: center)]
        // What Keras has no number for stays nameless.
        let origins = [
            "weight": hasScale ? "\(origin.name)/0" : "",
            "bias": hasCenter ? "\(origin.name)/\(hasScale ? 1 : 0)" : "",
            "running_mean": "\(origin.name)/\(next)", "running_var": "\(origin.name)/\(next + 1)",
        ]
        func named(_ sketch: LayerSketch) -> LayerSketch {
            var sketch = sketch
            for (name, _) in sketch.parameters { sketch.origins[name] = origins[name] }
            return sketch
        }
        switch origin.operation {
        case "BatchNormalization":
            let momentum = ((1 - (config["momentum"]?.double ?? 0.99)) * 1e9).rounded() / 1e9
            let sketch = named(
                LayerSketch(
                    "batch_norm", ["eps": epsilon, "momentum": .number(momentum)],
                    affine + [("running_mean", try weight(next)), ("running_var", try weight(next + 1))]))
            guard shape.count == 2 else { return try layer(sketch) }
            return try withChannelsFirst { (call, value) throws(DeMLError) in try call.layer(sketch, behind: value) }
        case "GroupNormalization":
            let groups = config["groups"]?.int ?? 32
            guard shape.count == 3 else { throw refusal("it works on values of shape \(shape)") }
            return try layer(
                named(
                    LayerSketch(
                        "group_norm", ["num_groups": .integer(groups == -1 ? count : groups), "eps": epsilon], affine)))
        default:
            guard shape.count < 3 else {
                throw refusal(
                    "it normalises the channels of each pixel", hint: "layer_norm here is over the last dimensions")
            }
            let isLayer = origin.operation == "LayerNormalization"
            return try layer(
                named(
                    LayerSketch(
                        isLayer ? "layer_norm" : "rms_norm", ["eps": epsilon, "normalized_shape": .ints([count])],
                        isLayer ? affine : [affine[0]])))
        }
    }

    // MARK: Windows

    /// Pools and padding of sequences.
    mutating func lineWindow() throws(DeMLError) -> Int {
        try requireChannelsLast()
        let type = origin.operation
        let pooled = try withChannelsFirst { (call, value) throws(DeMLError) in
            let shape = call.graph.shape(of: value)
            switch type {
            case "GlobalAveragePooling1D":
                return try call.layer(LayerSketch("adaptive_avg_pool1d", ["output_size": .integer(1)]), behind: value)
            case "GlobalMaxPooling1D":
                return try call.layer(LayerSketch("max_pool1d", ["kernel_size": .integer(shape[1])]), behind: value)
            case "ZeroPadding1D":
                let given = call.config["padding"]
                let sides = given?.ints ?? given?.int.map { [$0, $0] } ?? [1, 1]
                return try call.layer(LayerSketch("pad", ["padding": .ints(sides)]), behind: value)
            default: return try call.pool(value, isMaximum: type == "MaxPooling1D")
            }
        }
        guard type.hasPrefix("Global"), config["keepdims"]?.bool != true else { return pooled }
        return try graph.add(.reshape, behind: pooled, shape: [graph.shape(of: pooled)[1]], origin)
    }

    private mutating func pool(_ value: Int, isMaximum: Bool) throws(DeMLError) -> Int {
        let shape = graph.shape(of: value)
        let dimensions = shape.count - 1
        let kernel = try sizes("pool_size", 2, count: dimensions)
        let strides = config["strides"] == nil ? kernel : try sizes("strides", 2, count: dimensions)
        var plain: [String: JSONTree] = ["kernel_size": .size(kernel), "stride": .size(strides)]
        let pads = try same(shape, kernel, strides, kernel.map { _ in 1 })
        let name = (isMaximum ? "max_pool" : "avg_pool") + "\(dimensions)d"
        guard pads.contains(where: { $0 > 0 }) else { return try layer(LayerSketch(name, plain), behind: value) }
        let begin = Array(pads.prefix(dimensions))
        let sizes = Array(shape.dropFirst())
        let outputs = sizes.indices.map {
            SamePadding(size: sizes[$0], reach: kernel[$0], stride: strides[$0]).outputs
        }
        if var options = PoolWindows.options(
            kernel: kernel, strides: strides, begin: begin, sizes: sizes, outputs: outputs)
        {
            if !isMaximum, options["padding"] != nil { options["count_include_pad"] = .boolean(false) }
            return try layer(LayerSketch(name, options), behind: value)
        }
        guard isMaximum else {
            throw refusal(
                "its means leave out a padding that is larger behind the input than before it",
                hint: "use an odd pool_size, or padding='valid'")
        }
        let input = try padded(value, pads, &plain, value: -Double(Float.greatestFiniteMagnitude))
        return try layer(LayerSketch(name, plain), behind: input)
    }

    mutating func window() throws(DeMLError) -> Int {
        try requireChannelsLast()
        let value = try data()
        let shape = graph.shape(of: value)
        guard shape.count == 3 else { throw refusal("it works on values of shape \(shape)") }
        switch origin.operation {
        case "GlobalAveragePooling2D", "GlobalMaxPooling2D":
            let pooled =
                origin.operation == "GlobalAveragePooling2D"
                ? try layer(LayerSketch("global_avg_pool2d"))
                : try layer(LayerSketch("max_pool2d", ["kernel_size": .size(Array(shape.dropFirst()))]))
            if config["keepdims"]?.bool == true { return pooled }
            return try graph.add(.reshape, behind: pooled, shape: [shape[0]], origin)
        case "ZeroPadding2D":
            let given = config["padding"]
            var sides = [given?.int ?? 0, given?.int ?? 0, given?.int ?? 0, given?.int ?? 0]
            if let list = given?.list, list.count == 2 {
                let rows = list[0].ints ?? list[0].int.map { [$0, $0] } ?? []
                let columns = list[1].ints ?? list[1].int.map { [$0, $0] } ?? []
                guard rows.count == 2, columns.count == 2 else { throw refusal("its padding is none of four sides") }
                sides = columns + rows
            }
            return try layer(LayerSketch("pad", ["padding": .ints(sides)]))
        case "UpSampling2D":
            let factors = try sizes("size", 2)
            let mode = config["interpolation"]?.text ?? "nearest"
            guard mode == "nearest" || mode == "bilinear" else {
                throw refusal("its interpolation is \(mode.quotedForMessage)", hint: "nearest and bilinear are known")
            }
            var options: [String: JSONTree] = ["scale_factor": .size(factors)]
            if mode == "bilinear" { options["mode"] = .text(mode) }
            return try layer(LayerSketch("upsample", options))
        default:
            return try pool(value, isMaximum: origin.operation == "MaxPooling2D")
        }
    }
}
