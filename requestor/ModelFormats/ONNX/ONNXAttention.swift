import Foundation
import NeuralNetwork
import Tensors

/// What the values of an ONNX graph are to an attention. It comes as many nodes: products q, k and v, moves that bring heads
/// together, q·kᵀ, a scale, a mask, a softmax, a product with v, moves back, a product. They become one layer.
struct ONNXAttention {
    /// softmax(scale·q·kᵀ + mask), before and behind the softmax.
    struct Scores {
        var query: SequenceView
        var key: SequenceView
        var isCausal = false
        var dropout = 0.0
        /// Where they are not numbers, which a mask that hides all would make.
        var isTest = false
    }

    enum Value {
        case view(SequenceView)
        case scores(Scores)
        case weights(Scores)
    }

    /// What an attention is made of, but for the product behind it.
    struct Heads {
        var scores: Scores
        var value: SequenceView
        var count: Int
        var width: Int
    }

    /// By the names of the graph.
    var values: [String: Value] = [:]
    var heads: [Heads] = []
}

extension ONNXCall {
    /// What a node makes of values that belong to an attention, one for each output; nil where it has nothing to do with one.
    mutating func attention(_ found: inout ONNXAttention) throws(DeMLError) -> [ONNXAttention.Value]? {
        let given = node.inputs.indices.map { known($0, found) }
        guard given.contains(where: { $0 != nil }) else { return nil }
        switch (given.first ?? nil, given.count > 1 ? given[1] : nil, node.operation) {
        case (let value?, nil, "Identity"), (let value?, nil, "Cast"): return [value]
        case (.weights(var scores)?, _, "Dropout"):
            scores.dropout = try number("ratio", 1) ?? 0.5
            return [.weights(scores)]
        case (.view(let view)?, nil, _): return try moved(view, &found)
        case (nil, .view(var view)?, "Mul"):
            guard let factor = try single(0) else { return nil }
            view.scale *= factor
            return [.view(view)]
        case (.view(let query)?, .view(let key)?, "MatMul"): return scores(query, key).map { [.scores($0)] }
        case (.weights(let scores)?, .view(let value)?, "MatMul"):
            return heads(scores, value, &found).map { [.view($0)] }
        case (.scores(let scores)?, nil, _), (nil, .scores(let scores)?, "Add"), (nil, .scores(let scores)?, "Mul"):
            return try changed(scores, isFirst: given[0] != nil)
        case (.weights(var scores)?, nil, "IsNaN"):
            scores.isTest = true
            return [.weights(scores)]
        case (.weights(let test)?, nil, "Where") where test.isTest && given.count == 3: return given[2].map { [$0] }
        case (nil, .scores(let scores)?, "Where"): return try masked(scores, visible: 1)
        case (nil, nil, "Where") where given.count == 3:
            guard case .scores(let scores)? = given[2] else { return nil }
            return try masked(scores, visible: 0)
        case (.view(let query)?, .view(let key)?, "Attention") where given.count > 2:
            guard case .view(let value)? = given[2] else { return nil }
            return try fused(query, key, value, &found)
        default: return nil
        }
    }

    /// A value that is known, or a sequence that moves may begin with.
    private func known(_ index: Int, _ found: ONNXAttention) -> ONNXAttention.Value? {
        if let value = found.values[node.inputs[index]] { return value }
        switch inputs[index] {
        case .data(let value)?:
            let shape = graph.shape(of: value)
            guard shape.count == 2 else { return nil }
            return .view(SequenceView(.value(value), batch: batch, tokens: shape[0], features: shape[1]))
        case .arranged(let value, .sequenceFirst)?:
            let shape = graph.shape(of: value)
            guard shape.count == 2 else { return nil }
            return SequenceView(.value(value), batch: batch, tokens: shape[0], features: shape[1]).transposed([1, 0, 2])
                .map { .view($0) }
        default: return nil
        }
    }

    /// One number, where an input is that.
    private func single(_ index: Int) throws(DeMLError) -> Double? {
        guard index < inputs.count, case .constant(let tensor)? = inputs[index], tensor.count == 1 else { return nil }
        return try ConstantMath.doubles(tensor).first
    }

    // MARK: Moves and products

    private mutating func moved(
        _ view: SequenceView, _ found: inout ONNXAttention
    ) throws(DeMLError) -> [ONNXAttention.Value]? {
        let shape = view.shape
        func place(_ axis: Int, _ rank: Int) -> Int { axis < 0 ? axis + rank : axis }
        var result: SequenceView?
        switch node.operation {
        case "Transpose": result = view.transposed(node.attributes["perm"]?.ints ?? shape.indices.reversed())
        case "Reshape":
            guard let wanted = try ints("shape", 1) else { return nil }
            result = view.reshaped(try ONNXFolding.reshape(shape, wanted, allowZero: int("allowzero", 0) == 1))
        case "Squeeze": result = view.reshaped(try ONNXFolding.squeezed(shape, try ints("axes", 1)))
        case "Unsqueeze": result = view.reshaped(try ONNXFolding.unsqueezed(shape, try ints("axes", 1) ?? []))
        case "Gather":
            guard inputs.count > 1, case .constant(let index)? = inputs[1], index.shape.isEmpty,
                let at = try index.integers().first
            else {
                return nil
            }
            let axis = place(int("axis", 0), shape.count)
            guard shape.indices.contains(axis) else { return nil }
            result = view.selected(place(at, shape[axis]), of: axis)
        case "Slice":
            guard let starts = try ints("starts", 1), let ends = try ints("ends", 2), starts.count == 1,
                ends.count == 1,
                try (ints("steps", 4) ?? [1]) == [1]
            else { return nil }
            let axis = place(try ints("axes", 3)?.first ?? 0, shape.count)
            guard shape.indices.contains(axis) else { return nil }
            let start = min(max(place(starts[0], shape[axis]), 0), shape[axis])
            let end = min(max(place(ends[0], shape[axis]), 0), shape[axis])
            result = view.part(of: axis, from: start, count: end - start)
        case "Split":
            let axis = place(int("axis", 0), shape.count)
            guard shape.indices.contains(axis), !node.outputs.isEmpty else { return nil }
            let even = (shape[axis] + node.outputs.count - 1) / node.outputs.count
            let sizes = try ints("split", 1) ?? node.outputs.indices.map { min(even, shape[axis] - $0 * even) }
            guard sizes.count == node.outputs.count else { return nil }
            var parts: [ONNXAttention.Value] = []
            var start = 0
            for size in sizes {
                guard let part = view.part(of: axis, from: start, count: size) else { return nil }
                parts.append(.view(part))
                start += size
            }
            return parts
        case "Mul", "Div":
            guard let factor = try single(1), factor != 0 else { return nil }
            var scaled = view
            scaled.scale *= node.operation == "Mul" ? factor : 1 / factor
            result = scaled
        case "MatMul", "Gemm", "Add": result = try product(of: view, &found)
        default: return nil
        }
        return result.map { [.view($0)] }
    }

    /// A linear layer, or the product of an attention, on rows that are not in their usual order; and the shift behind it.
    private mutating func product(
        of view: SequenceView, _ found: inout ONNXAttention
    ) throws(DeMLError) -> SequenceView? {
        guard let features = view.shape.last, view.isRows(features: features), view.scale == 1 else { return nil }
        if case .value(let value) = view.source {
            // In their usual order they are what they are without attention.
            guard
                view != SequenceView(view.source, batch: batch, tokens: graph.shape(of: value)[0], features: features),
                graph.shape(of: value)[1] == features
            else { return nil }
        }
        guard inputs.count > 1, case .constant(var tensor)? = inputs[1] else { return nil }
        if node.operation == "Add" {
            guard case .value(let value) = view.source, tensor.count == features, tensor.shape.last == features else {
                return nil
            }
            let shifted = try graph.add(
                .constant(.add, try ConstantMath.doubles(tensor).map { Float($0) }, shape: [features]), behind: value,
                origin)
            return view.rows(of: .value(shifted), features: features)
        }
        guard tensor.shape.count == 2 else { return nil }
        var shift: Tensor?
        if node.operation == "Gemm" {
            guard int("transA", 0) == 0, try number("alpha") ?? 1 == 1, try number("beta") ?? 1 == 1 else { return nil }
            if int("transB", 0) == 1 { tensor = try ConstantMath.transposed(tensor, [1, 0]) }
            shift = try constant(2)
        }
        guard tensor.shape[0] == features, shift.map({ $0.count == tensor.shape[1] }) ?? true else { return nil }
        let weight = try weights(try ConstantMath.transposed(tensor, [1, 0]))
        let outputs = weight.shape[0]
        let bias = try shift.map { (tensor) throws(DeMLError) in try weights(tensor, [outputs]) }
        let value: Int
        switch view.source {
        case .value(let source):
            value = try layer(
                LayerSketch(
                    "linear",
                    ["out_features": .integer(outputs)].merging(bias == nil ? ["bias": .boolean(false)] : [:]) { $1 },
                    [("weight", weight)] + (bias.map { [("bias", $0)] } ?? [])), behind: source)
        case .heads(let number): value = try layer(of: found.heads[number], weight, bias)
        }
        return view.rows(of: .value(value), features: outputs)
    }

    // MARK: Heads

    /// q·kᵀ of the heads.
    private func scores(_ query: SequenceView, _ key: SequenceView) -> ONNXAttention.Scores? {
        guard key.axes.count >= 3,
            let turned = key.transposed(Array(0..<key.axes.count - 2) + [key.axes.count - 1, key.axes.count - 2]),
            query.axes == turned.axes, areHeads(query)
        else { return nil }
        return ONNXAttention.Scores(query: query, key: turned)
    }

    /// Batch and heads, tokens, the features of a head.
    private func areHeads(_ view: SequenceView) -> Bool { headCount(view) != nil }

    private func headCount(_ view: SequenceView) -> Int? {
        guard view.axes.count >= 3, let width = view.shape.last, let tokens = view.axes.dropLast().last,
            tokens.allSatisfy({ $0.axis == .token }),
            view.axes.last == SequenceView.merged([SequenceView.Factor(axis: .feature, size: width)])
        else { return nil }
        let lead = view.axes.dropLast(2).joined()
        let heads = lead.filter { $0.axis == .feature }
        guard lead.allSatisfy({ $0.axis != .token }), heads.count <= 1, heads.first.map({ $0.stride == width }) ?? true
        else { return nil }
        return heads.first?.size ?? 1
    }

    private mutating func heads(
        _ scores: ONNXAttention.Scores, _ value: SequenceView, _ found: inout ONNXAttention
    ) -> SequenceView? {
        guard value.axes == scores.query.axes, let count = headCount(value), let width = value.shape.last else {
            return nil
        }
        found.heads.append(ONNXAttention.Heads(scores: scores, value: value, count: count, width: width))
        return SequenceView(.heads(found.heads.count - 1), axes: value.axes)
    }

    /// ONNX's own operator of opset 23: the heads in an axis of their own.
    private mutating func fused(
        _ query: SequenceView, _ key: SequenceView, _ value: SequenceView, _ found: inout ONNXAttention
    ) throws(DeMLError) -> [ONNXAttention.Value]? {
        guard query.axes == key.axes, query.axes.count == 4, areHeads(query), let width = query.shape.last,
            try number("softcap") ?? 0 == 0, node.outputs.dropFirst().allSatisfy(\.isEmpty),
            inputs.dropFirst(4).allSatisfy({ $0 == nil })
        else { return nil }
        var scores = ONNXAttention.Scores(query: query, key: key, isCausal: int("is_causal", 0) == 1)
        scores.query.scale *= try number("scale") ?? 1 / Double(width).squareRoot()
        if inputs.count > 3, var mask = try constant(3) {
            // Truth values show what is seen.
            if !mask.dtype.isFloatingPoint {
                let numbers = try ConstantMath.doubles(mask).map { $0 != 0 ? 0 : -Double.infinity }
                mask = ConstantMath.make(numbers, mask.shape, integers: false)
            }
            guard let isCausal = try mask.isCausal(scores.query.shape.dropLast().last ?? 0) else { return nil }
            scores.isCausal = scores.isCausal || isCausal
        }
        return heads(scores, value, &found).map { [.view($0)] }
    }

    // MARK: Scores

    private func changed(
        _ scores: ONNXAttention.Scores, isFirst: Bool
    ) throws(DeMLError) -> [ONNXAttention.Value]? {
        var scores = scores
        switch node.operation {
        case "Mul", "Div":
            guard let factor = try single(isFirst ? 1 : 0), factor != 0, node.operation == "Mul" || isFirst else {
                return nil
            }
            scores.query.scale *= node.operation == "Mul" ? factor : 1 / factor
            return [.scores(scores)]
        case "Add":
            guard case .constant(let mask)? = inputs[isFirst ? 1 : 0],
                let isCausal = try mask.isCausal(scores.query.shape.dropLast().last ?? 0)
            else { throw refusal("its mask is neither causal nor empty", hint: "attention has causal: true or false") }
            scores.isCausal = scores.isCausal || isCausal
            return [.scores(scores)]
        case "Softmax":
            let axis = int("axis", -1)
            guard axis == -1 || axis == scores.query.axes.count - 1 else { return nil }
            return [.weights(scores)]
        default: return nil
        }
    }

    /// Where(mask, scores, -∞), or the other way round.
    private func masked(
        _ scores: ONNXAttention.Scores, visible: Double
    ) throws(DeMLError) -> [ONNXAttention.Value]? {
        guard case .constant(let mask)? = inputs[0], let hidden = try single(visible == 1 ? 2 : 1), hidden <= -1e4
        else {
            return nil
        }
        let shift = try ConstantMath.doubles(mask).map { ($0 != 0) == (visible == 1) ? 0.0 : -.infinity }
        let added = ConstantMath.make(shift, mask.shape, integers: false)
        guard let isCausal = try added.isCausal(scores.query.shape.dropLast().last ?? 0) else {
            throw refusal("its mask is neither causal nor empty", hint: "attention has causal: true or false")
        }
        var scores = scores
        scores.isCausal = scores.isCausal || isCausal
        return [.scores(scores)]
    }

    // MARK: The layer

    private mutating func layer(
        of heads: ONNXAttention.Heads, _ output: Tensor, _ outputBias: Tensor?
    ) throws(DeMLError) -> Int {
        let scores = heads.scores
        let scale = scores.query.scale * scores.key.scale * Double(heads.width).squareRoot()
        guard abs(scale - 1) < 1e-4, heads.value.scale == 1 else {
            throw refusal(
                "its scores have another scale than 1/√\(heads.width)", hint: "attention scales by the width of a head")
        }
        let width = heads.count * heads.width
        guard output.shape == [width, width] else {
            throw refusal(
                "the product behind the heads makes \(output.shape[0]) of \(width) features", hint: "both must be equal"
            )
        }
        var rows: [Float] = []
        var shifts: [[Float]?] = []
        var inputs: Set<Int> = []
        for view in [scores.query, scores.key, heads.value] {
            guard let (input, weight, bias) = try projection(view, width) else {
                throw refusal(
                    "its queries, keys and values are not products of a value", hint: "linear layers make them")
            }
            rows += weight
            shifts.append(bias)
            inputs.insert(input)
        }
        guard inputs.count == 1, let input = inputs.first, graph.shape(of: input).last == width else {
            throw refusal(
                "its queries, keys and values come from different values", hint: "attention here is self-attention")
        }
        let hasBias = outputBias != nil || shifts.contains { $0 != nil }
        let none = [Float](repeating: 0, count: width)
        var parameters: [(name: String, tensor: Tensor)] = [
            ("in_proj_weight", Tensor(shape: [3 * width, width], floats: rows))
        ]
        if hasBias {
            parameters.append(
                ("in_proj_bias", Tensor(shape: [3 * width], floats: shifts.flatMap { $0 ?? none })))
        }
        parameters.append(("out_proj.weight", output))
        if hasBias { parameters.append(("out_proj.bias", outputBias ?? Tensor(shape: [width], floats: none))) }
        var options: [String: JSONTree] = ["num_heads": .integer(heads.count)]
        if scores.isCausal { options["causal"] = .boolean(true) }
        if scores.dropout > 0 { options["dropout"] = .number(scores.dropout) }
        if !hasBias { options["bias"] = .boolean(false) }
        return try layer(LayerSketch("attention", options, parameters), behind: input)
    }

    /// The linear layer that a view's numbers come from: its input, and of its weight and bias what the view takes.
    private func projection(
        _ view: SequenceView, _ width: Int
    ) throws(DeMLError) -> (input: Int, weight: [Float], bias: [Float]?)? {
        guard case .value(var value) = view.source, let outputs = graph.shape(of: value).last,
            view.offset + width <= outputs
        else { return nil }
        var bias: [Float]?
        while value > 0 {
            let node = graph.nodes[value - 1]
            guard case .step(let kind) = node.operation else { return nil }
            switch kind {
            case .constant(.add, let numbers, let shape):
                guard shape.last == outputs, numbers.count == outputs else { return nil }
                bias = bias.map { zip($0, numbers).map { $0 + $1 } } ?? numbers
            case .function(.add(let number)):
                let numbers = [Float](repeating: Float(number), count: outputs)
                bias = bias.map { zip($0, numbers).map { $0 + $1 } } ?? numbers
            case .layer(let layer) where layer.type == "linear":
                guard let weight = layer["weight"], weight.shape[0] == outputs else { return nil }
                if let own = try layer["bias"]?.floats() { bias = bias.map { zip($0, own).map { $0 + $1 } } ?? own }
                let columns = weight.shape[1]
                let part = view.offset..<view.offset + width
                return (
                    node.inputs[0],
                    Array(try weight.floats()[part.lowerBound * columns..<part.upperBound * columns]),
                    bias.map { Array($0[part]) }
                )
            default: return nil
            }
            value = node.inputs[0]
        }
        return nil
    }
}

extension Tensor {
    /// Whether a mask that is added hides from each of `tokens` all that come later, or nothing; nil for another mask.
    fileprivate func isCausal(_ tokens: Int) throws(DeMLError) -> Bool? {
        guard ConstantMath.broadcast([tokens, tokens], Array(shape.suffix(2))) == [tokens, tokens],
            shape.dropLast(2).allSatisfy({ $0 == 1 })
        else { return nil }
        let mask = ConstantMath.expanded(
            try ConstantMath.doubles(self), from: Array(shape.suffix(2)), to: [tokens, tokens])
        if mask.allSatisfy({ $0 == 0 }) { return false }
        for (index, value) in mask.enumerated() {
            guard index % tokens > index / tokens ? value <= -1e4 : value == 0 else { return nil }
        }
        return true
    }
}
