import NeuralNetwork
import Tensors

extension ONNXCall {
    /// Pools, resizing, padding.
    mutating func window() throws(DeMLError) -> Int {
        let value = try data()
        let shape = graph.shape(of: value)
        switch node.operation {
        case "Pad": return try pad()
        case "Upsample", "Resize": return try resize()
        default: break
        }
        guard shape.count == 3 || shape.count == 2 else {
            throw refusal(
                "it goes over values of shape \(shape)",
                hint: "pools here are for images [channels, height, width] and sequences [channels, length]")
        }
        switch node.operation {
        case "GlobalAveragePool" where shape.count == 2:
            return try layer(LayerSketch("adaptive_avg_pool1d", ["output_size": .integer(1)]))
        case "GlobalAveragePool": return try layer(LayerSketch("global_avg_pool2d"))
        case "GlobalMaxPool":
            return try layer(
                LayerSketch("max_pool\(shape.count - 1)d", ["kernel_size": .size(Array(shape.dropFirst()))]))
        default: return try pool(shape)
        }
    }

    private mutating func pool(_ shape: [Int]) throws(DeMLError) -> Int {
        var value = try data()
        let isMaximum = node.operation == "MaxPool"
        let dimensions = shape.count - 1
        guard let kernel = try ints("kernel_shape"), kernel.count == dimensions,
            kernel.allSatisfy({ (1..<1 << 16).contains($0) })
        else { throw refusal("its kernel_shape is none of \(dimensions) dimensions") }
        let strides = try ints("strides") ?? kernel.map { _ in 1 }
        guard strides.count == dimensions, strides.allSatisfy({ (1..<1 << 16).contains($0) }) else {
            throw refusal("its strides are \(strides)")
        }
        guard (try ints("dilations") ?? [1]).allSatisfy({ $0 == 1 }) else {
            throw refusal("its windows have holes (dilations)", hint: "pools here have dilation 1")
        }
        let pads = try padding(Array(shape.dropFirst()), reach: kernel, strides: strides)
        let begin = Array(pads.prefix(dimensions))
        let end = Array(pads.suffix(dimensions))
        var outputs: [Int] = []
        // What must stand behind the input so that the last window is whole.
        var rest: [Int] = []
        for axis in 0..<dimensions {
            let size = shape[axis + 1] + begin[axis] + end[axis]
            guard size >= kernel[axis] else {
                throw refusal("its windows \(kernel) are larger than the input \(shape)")
            }
            outputs.append((size - kernel[axis]) / strides[axis] + 1)
            // One more where numbers are left, if it begins before the input's end.
            let next = outputs[axis] * strides[axis]
            if int("ceil_mode", 0) == 1, (size - kernel[axis]) % strides[axis] > 0, next < shape[axis + 1] + begin[axis]
            {
                outputs[axis] += 1
            }
            rest.append(
                PoolWindows.rest(
                    outputs: outputs[axis], kernel: kernel[axis], stride: strides[axis], begin: begin[axis],
                    size: shape[axis + 1]))
        }
        let options = PoolWindows.options(
            kernel: kernel, strides: strides, begin: begin, sizes: Array(shape.dropFirst()), outputs: outputs)
        let plain: [String: JSONTree] = ["kernel_size": .size(kernel), "stride": .size(strides)]
        if isMaximum {
            if let options { return try layer(LayerSketch("max_pool\(dimensions)d", options)) }
            value = try padded(value, begin + rest, with: -Double(Float.greatestFiniteMagnitude))
            return try layer(LayerSketch("max_pool\(dimensions)d", plain), behind: value)
        }
        let name = "avg_pool\(dimensions)d"
        guard (begin + end).contains(where: { $0 > 0 }), int("count_include_pad", 0) == 1 else {
            guard var options else {
                throw refusal(
                    "its means leave out a padding of \(pads), which \(name) has not",
                    hint: "its padding is before the input as behind it, at most half a window, or with ceil_mode")
            }
            if options["padding"] != nil { options["count_include_pad"] = .boolean(false) }
            return try layer(LayerSketch(name, options))
        }
        if begin == end, let options { return try layer(LayerSketch(name, options)) }
        guard zip(rest, end).allSatisfy({ $0 <= $1 }) else {
            throw refusal("its windows reach beyond the padding \(pads)", hint: "export it without ceil_mode")
        }
        value = try padded(value, begin + end, with: 0)
        return try layer(LayerSketch(name, plain), behind: value)
    }

    private mutating func pad() throws(DeMLError) -> Int {
        let value = try data()
        let shape = graph.shape(of: value)
        let mode = node.attributes["mode"]?.text ?? "constant"
        guard mode == "constant" else {
            throw refusal("its mode is \(mode.quotedForMessage)", hint: "pad here puts a constant around")
        }
        guard var pads = try ints("pads", 1) ?? node.attributes["paddings"]?.ints else {
            throw refusal("it does not say how much to pad")
        }
        let rank = shape.count + 1
        if inputs.count > 3, let axes = try constant(3)?.integers() {
            var all = [Int](repeating: 0, count: 2 * rank)
            guard pads.count == 2 * axes.count else { throw refusal("its pads and axes do not fit together") }
            for (index, given) in axes.enumerated() {
                let place = try axis(given, of: shape)
                (all[place], all[place + rank]) = (pads[index], pads[index + axes.count])
            }
            pads = all
        }
        guard pads.count == 2 * rank, pads.allSatisfy({ (-(1 << 16)..<1 << 16).contains($0) }) else {
            throw refusal("its pads \(pads.prefix(12)) do not fit the value's shape \(shape)")
        }
        guard pads.contains(where: { $0 != 0 }) else { return value }
        guard shape.count >= 2, pads[0] == 0, pads[1] == 0, pads[rank] == 0, pads[rank + 1] == 0,
            pads.allSatisfy({ $0 >= 0 })
        else {
            throw refusal("it pads the batch or the channels, or cuts", hint: "pad here is for height and width")
        }
        let number = try number("value", 2) ?? 0
        let inner = Array(pads[2..<rank]) + Array(pads[(rank + 2)...])
        guard !number.isInfinite else {
            return try padded(value, inner, with: number < 0 ? -3.4028234663852886e38 : 3.4028234663852886e38)
        }
        return try padded(value, inner, with: number)
    }

    private mutating func resize() throws(DeMLError) -> Int {
        let value = try data()
        let shape = graph.shape(of: value)
        guard shape.count == 3 else {
            throw refusal("it resizes values of shape \(shape)", hint: "upsample is for images")
        }
        let isResize = node.operation == "Resize" && inputs.count != 2
        let mode = node.attributes["mode"]?.text ?? "nearest"
        guard mode == "nearest" || mode == "linear" || mode == "bilinear" else {
            throw refusal("its mode is \(mode.quotedForMessage)", hint: "nearest and linear are known")
        }
        var target = shape
        var factors: [Double]?
        func spatial<Number>(_ values: [Number]) throws(DeMLError) -> [Number] {
            if let axes = node.attributes["axes"]?.ints {
                let places = axes.map { $0 < 0 ? $0.addingSaturated(4) : $0 }
                guard places.sorted() == [2, 3], values.count == 2 else { throw refusal("it resizes the axes \(axes)") }
                return places == [2, 3] ? values : values.reversed()
            }
            guard values.count == 4 else { throw refusal("it has \(values.count) sizes for four dimensions") }
            return Array(values.suffix(2))
        }
        var scales = node.attributes["scales"]?.floats ?? []
        if scales.isEmpty, let tensor = try constant(isResize ? 2 : 1) { scales = try ConstantMath.doubles(tensor) }
        if scales.isEmpty {
            guard isResize, let sizes = try constant(3)?.integers() else { throw refusal("it does not say how large") }
            let sizes2 = try spatial(sizes)
            target = [shape[0]] + sizes2
            guard (node.attributes["keep_aspect_ratio_policy"]?.text ?? "stretch") == "stretch" else {
                throw refusal("it keeps the aspect ratio", hint: "export it with the sizes that come out")
            }
        } else {
            let two = try spatial(scales)
            guard two.allSatisfy({ $0 > 0 && $0 < 1e4 }) else { throw refusal("its scales are \(two)") }
            if scales.count == 4, scales[0] != 1 || scales[1] != 1 { throw refusal("it resizes batch or channels") }
            factors = two
            target = [shape[0], Int(Double(shape[1]) * two[0]), Int(Double(shape[2]) * two[1])]
        }
        let coordinates =
            isResize ? node.attributes["coordinate_transformation_mode"]?.text ?? "half_pixel" : "asymmetric"
        let rounding = isResize ? node.attributes["nearest_mode"]?.text ?? "round_prefer_floor" : "floor"
        let isWhole = zip(shape.dropFirst(), target.dropFirst()).allSatisfy { $0 > 0 && $1 % $0 == 0 }
        var options: [String: JSONTree] = [:]
        if mode == "nearest" {
            guard
                coordinates == "asymmetric" && rounding == "floor"
                    || isWhole && (coordinates == "half_pixel" || coordinates == "pytorch_half_pixel")
                        && (rounding == "round_prefer_floor" || rounding == "round_prefer_ceil")
            else {
                throw refusal(
                    "its coordinates are \(coordinates.quotedForMessage) with \(rounding.quotedForMessage)",
                    hint: "torch's nearest is asymmetric with floor")
            }
        } else {
            guard coordinates == "half_pixel" || coordinates == "pytorch_half_pixel" && target[1] > 1 && target[2] > 1,
                int("antialias", 0) == 0
            else {
                throw refusal(
                    "its coordinates are \(coordinates.quotedForMessage)",
                    hint: "torch's bilinear with align_corners=False is half_pixel, without antialias")
            }
            options["mode"] = .text("bilinear")
        }
        if let factors, !isWhole {
            options["scale_factor"] = .list(factors.map(JSONTree.number))
        } else if isWhole, target[1] / shape[1] == target[2] / shape[2] {
            options["scale_factor"] = .integer(target[1] / shape[1])
        } else {
            options["size"] = .size(Array(target.dropFirst()))
        }
        return try layer(LayerSketch("upsample", options))
    }
}
