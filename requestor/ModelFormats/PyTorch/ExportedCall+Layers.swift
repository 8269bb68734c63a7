import NeuralNetwork
import Tensors

extension ExportedCall {
    /// Products and convolutions.
    mutating func product() throws(DeMLError) -> Int {
        let hasBias = node.arguments["bias"]?["as_tensor"] != nil
        switch node.operation {
        case "linear":
            if let name = node.arguments["weight"].flatMap({ ExportedSequences.names($0).first }),
                sequences.embeddings.contains(name)
            {
                return try tied(name)
            }
            guard let weight = try weight("weight"), weight.tensor.shape.count == 2 else {
                throw refusal("its weight is no matrix")
            }
            return try layer(
                "linear", ["out_features": .integer(weight.tensor.shape[0]), "bias": .boolean(hasBias)],
                behind: "input",
                [("weight", "weight"), ("bias", "bias")])
        case "conv1d", "conv2d", "conv_transpose2d":
            let isTransposed = node.operation == "conv_transpose2d"
            guard let weight = try weight("weight"), weight.tensor.shape.count == (node.operation == "conv1d" ? 3 : 4)
            else {
                throw refusal("its weight does not fit")
            }
            let count = weight.tensor.shape.count - 2
            let groups = int("groups", 1)
            var options: [String: JSONTree] = [
                "out_channels": .integer(
                    isTransposed ? weight.tensor.shape[1].multipliedSaturated(by: groups) : weight.tensor.shape[0]),
                "kernel_size": .size(Array(weight.tensor.shape.dropFirst(2))), "groups": .integer(groups),
                "bias": .boolean(hasBias),
            ]
            for key in ["stride", "dilation"] + (isTransposed ? ["output_padding"] : []) {
                if let sizes = try ints(key, count: count) { options[key] = .size(sizes) }
            }
            if let word = text("padding") {
                options["padding"] = .text(word)
            } else if let sizes = try ints("padding", count: count) {
                options["padding"] = .size(sizes)
            }
            return try layer(node.operation, options, behind: "input", [("weight", "weight"), ("bias", "bias")])
        default: return try matrix()
        }
    }

    /// x·W and b + x·W, as functions write it.
    private mutating func matrix() throws(DeMLError) -> Int {
        let isSum = node.operation == "addmm"
        let (left, right) = isSum ? ("mat1", "mat2") : node.operation == "mm" ? ("self", "mat2") : ("self", "other")
        guard let found = try weight(right), found.tensor.shape.count == 2 else {
            throw refusal("it multiplies two values", hint: "linear multiplies with a parameter")
        }
        guard double("alpha") ?? 1 == 1, double("beta") ?? 1 == 1 else { throw refusal("its alpha or beta is not 1") }
        let turned = try ConstantMath.transposed(found.tensor, [1, 0])
        var sketch = LayerSketch(
            "linear", ["out_features": .integer(turned.shape[0]), "bias": .boolean(isSum)], [("weight", turned)])
        if isSum {
            guard let bias = try weight("self"), bias.tensor.shape == [turned.shape[0]] else {
                throw refusal("what it adds is no bias")
            }
            sketch.parameters.append(("bias", Tensor(shape: bias.tensor.shape, floats: try bias.tensor.floats())))
        }
        return try graph.add(sketch, behind: try data(left), origin)
    }

    mutating func normalization() throws(DeMLError) -> Int {
        let epsilon = JSONTree.number(double("eps") ?? 1e-5)
        let hasWeight = node.arguments["weight"]?["as_tensor"] != nil
        let hasBias = node.arguments["bias"]?["as_tensor"] != nil
        let affine = [(name: "weight", key: "weight"), (name: "bias", key: "bias")]
        switch node.operation {
        case "batch_norm":
            guard node.arguments["running_mean"]?["as_tensor"] != nil else {
                throw refusal("it keeps no running statistics", hint: "track_running_stats must be True")
            }
            return try layer(
                "batch_norm",
                ["eps": epsilon, "momentum": .number(double("momentum") ?? 0.1), "affine": .boolean(hasWeight)],
                behind: "input", affine + [("running_mean", "running_mean"), ("running_var", "running_var")])
        case "layer_norm":
            return try layer(
                "layer_norm",
                [
                    "eps": epsilon,
                    "normalized_shape": .ints(node.arguments["normalized_shape"]?["as_ints"]?.ints ?? []),
                    "elementwise_affine": .boolean(hasWeight), "bias": .boolean(hasBias),
                ], behind: "input", affine)
        case "rms_norm":
            // torch's own ε where none is given: that of single precision.
            return try layer(
                "rms_norm",
                [
                    "eps": .number(double("eps") ?? Double(Float.ulpOfOne)),
                    "normalized_shape": .ints(node.arguments["normalized_shape"]?["as_ints"]?.ints ?? []),
                    "elementwise_affine": .boolean(hasWeight),
                ], behind: "input", [("weight", "weight")])
        default:
            let channels = graph.shape(of: try data("input"))[0]
            let groups = node.operation == "instance_norm" ? channels : int("num_groups", 0)
            if node.operation == "instance_norm", !bool("use_input_stats", true) {
                throw refusal("it uses running statistics", hint: "batch_norm does")
            }
            return try layer(
                "group_norm", ["eps": epsilon, "num_groups": .integer(groups), "affine": .boolean(hasWeight)],
                behind: "input", affine)
        }
    }

    /// Pools, resizing, padding.
    mutating func window() throws(DeMLError) -> Int {
        switch node.operation {
        case "adaptive_avg_pool2d":
            let size = try ints("output_size", count: 2) ?? [1, 1]
            return size == [1, 1]
                ? try layer("global_avg_pool2d") : try layer("adaptive_avg_pool2d", ["output_size": .size(size)])
        case "adaptive_avg_pool1d":
            return try layer(node.operation, ["output_size": .size(try ints("output_size", count: 1) ?? [1])])
        case "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d":
            let count = node.operation.hasSuffix("1d") ? 1 : 2
            guard let kernel = try ints("kernel_size", count: count) else { throw refusal("it has no kernel_size") }
            var options: [String: JSONTree] = ["kernel_size": .size(kernel)]
            options["stride"] = .size(try ints("stride", count: count) ?? kernel)
            let padding = try ints("padding", count: count) ?? kernel.map { _ in 0 }
            options["padding"] = .size(padding)
            guard (try ints("dilation", count: count) ?? [1]).allSatisfy({ $0 == 1 }) else {
                throw refusal("its windows have holes (dilation)", hint: "pools here have dilation 1")
            }
            guard node.arguments["divisor_override"]?["as_int"] == nil else {
                throw refusal("its sums are divided by a number of its own", hint: "leave divisor_override out")
            }
            if !bool("count_include_pad", true), padding.contains(where: { $0 > 0 }) {
                options["count_include_pad"] = .boolean(false)
            }
            // Where it makes no further window, it is not worth a word.
            if bool("ceil_mode", false),
                try LayerSketch(node.operation, options).output(of: graph.shape(of: try data("self"))) != outputShape()
            {
                options["ceil_mode"] = .boolean(true)
            }
            return try layer(node.operation, options)
        case "upsample_nearest2d", "upsample_bilinear2d":
            guard !bool("align_corners", false) else {
                throw refusal("it aligns corners", hint: "torch's default, align_corners=False, is known")
            }
            var options: [String: JSONTree] = [:]
            if node.operation == "upsample_bilinear2d" { options["mode"] = .text("bilinear") }
            if let factors = node.arguments["scale_factors"]?["as_floats"]?.list?.compactMap(\.double),
                factors.count == 2
            {
                options["scale_factor"] =
                    factors[0] == factors[1] ? .number(factors[0]) : .list(factors.map(JSONTree.number))
            } else {
                options["size"] = .size(Array(try outputShape().dropFirst()))
            }
            return try layer("upsample", options, behind: node.arguments["input"] == nil ? "self" : "input")
        default:
            let pads = node.arguments["pad"]?["as_ints"]?.ints ?? []
            guard text("mode") ?? "constant" == "constant" else {
                throw refusal(
                    "its mode is \((text("mode") ?? "").quotedForMessage)", hint: "pad here puts a constant around")
            }
            guard pads.contains(where: { $0 != 0 }) else { return try data("self") }
            let sides = graph.shape(of: try data("self")).count - 1
            guard sides == 1 || sides == 2, pads.count % 2 == 0, pads.count <= 2 * sides, pads.allSatisfy({ $0 >= 0 })
            else {
                throw refusal("it pads \(pads), which is more than height and width, or cuts")
            }
            let whole = pads + [Int](repeating: 0, count: 2 * sides - pads.count)
            return try layer("pad", ["padding": .ints(whole), "value": .number(double("value") ?? 0)])
        }
    }

    /// Everything that moves numbers without computing, and means.
    mutating func reshaped() throws(DeMLError) -> Int {
        let value = try data("self")
        let old = graph.shape(of: value)
        let rank = old.count + 1
        let shape = try outputShape()
        func axis(_ given: Int) throws(DeMLError) -> Int {
            let place = given < 0 ? given + rank : given
            guard place > 0, place < rank else { throw refusal("its dimension \(given) is the batch, or none") }
            return place - 1
        }
        switch node.operation {
        case "permute", "transpose":
            var axes = Array(old.indices)
            if node.operation == "transpose" {
                axes.swapAt(try axis(int("dim0", 0)), try axis(int("dim1", 0)))
            } else {
                let given = node.arguments["dims"]?["as_ints"]?.ints ?? []
                guard given.count == rank, given.first == 0 else { throw refusal("it moves the batch: \(given)") }
                axes = []
                for place in given.dropFirst() { axes.append(try axis(place)) }
                guard axes.sorted() == Array(old.indices) else { throw refusal("its dims \(given) are none") }
            }
            return try graph.add(.transpose(axes), behind: value, shape: axes.map { old[$0] }, origin)
        case "mean":
            let given =
                node.arguments["dim"]?["as_ints"]?.ints ?? node.arguments["dim"]?["as_int"]?.int.map { [$0] } ?? []
            var axes: [Int] = []
            for place in given { axes.append(try axis(place)) }
            guard !axes.isEmpty, Set(axes).count == axes.count else {
                throw refusal("it takes the mean over the batch")
            }
            var kept = old
            for place in axes { kept[place] = 1 }
            let mean = try graph.add(.mean(axes.sorted()), behind: value, shape: kept, origin)
            return kept == shape ? mean : try graph.add(.reshape, behind: mean, shape: shape, origin)
        case "expand":
            guard shape == old else { throw refusal("it repeats its input", hint: "no layer here does") }
            return value
        default:
            guard elementCount(of: shape) == elementCount(of: old) else {
                throw refusal("\(old) cannot take the shape \(shape)")
            }
            return shape == old ? value : try graph.add(.reshape, behind: value, shape: shape, origin)
        }
    }
}
