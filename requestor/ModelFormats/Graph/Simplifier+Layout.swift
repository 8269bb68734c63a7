import NeuralNetwork
import Tensors

extension Simplifier {
    // MARK: Channels last

    /// Models of TensorFlow have their channels last and turn images before and behind convolutions; ours need not.
    static func channelsLast(_ steps: [Step]) throws(DeMLError) -> [Step] {
        var steps = steps
        for index in steps.indices {
            // Where only sizes of 1 move, numbers stay where they are. A turned sequence is turned back, or flattened.
            guard case .transpose(let axes) = steps[index].kind else { continue }
            let moving = axes.filter { steps[index].input[$0] != 1 }
            let isFlattened = if index + 1 < steps.count, case .reshape = steps[index + 1].kind { true } else { false }
            guard moving == moving.sorted(), axes != [1, 0] || isFlattened else { continue }
            steps[index].kind = .reshape
        }
        var index = 0
        while index < steps.count {
            // A sequence [channels, length] is turned as an image is.
            let back: [Int]
            switch steps[index].kind {
            case .transpose([1, 2, 0]): back = [2, 0, 1]
            case .transpose([1, 0]): back = [1, 0]
            default:
                index += 1
                continue
            }
            // What works number by number does so in either order.
            var next = index + 1
            while next < steps.count, isElementwise(steps[next]) { next += 1 }
            guard next < steps.count else { break }
            switch steps[next].kind {
            case .transpose(back):
                let shape = steps[index].input
                for place in index..<next {
                    steps[place].input = shape
                    steps[place].output = shape
                }
                steps.remove(at: next)
                steps.remove(at: index)
            case .reshape where steps[next].output.count == 1:
                guard let linear = linear(behind: next, steps) else {
                    index += 1
                    continue
                }
                let shape = steps[index].input
                steps[linear] = try permuted(
                    steps[linear], channels: shape[0], pixels: shape.dropFirst().reduce(1, *))
                for place in (index + 1)...next { steps[place].input = shape }
                for place in (index + 1)..<next { steps[place].output = shape }
                steps.remove(at: index)
            default: index += 1
            }
        }
        return steps
    }

    private static func isElementwise(_ step: Step) -> Bool {
        switch step.kind {
        case .function: true
        case .layer(let layer): Activation.value(layer, 0.5) != nil || layer.type == "dropout"
        default: false
        }
    }

    /// The first linear layer behind a place, with nothing but activations before it.
    private static func linear(behind place: Int, _ steps: [Step]) -> Int? {
        var next = place + 1
        while next < steps.count, isElementwise(steps[next]) { next += 1 }
        return next < steps.count && steps[next].isLayer("linear") ? next : nil
    }

    /// A linear layer over [pixels][channels] made one over [channels][pixels].
    static func permuted(_ step: Step, channels: Int, pixels: Int) throws(DeMLError) -> Step {
        guard var layer = step.layer, let weight = layer["weight"], weight.shape.count == 2,
            weight.shape[1] == channels * pixels
        else { throw step.origin.refusal("its weight does not fit the image before it", .shape) }
        let outputs = weight.shape[0]
        let turned = try ConstantMath.transposed(try weight.reshaped([outputs, pixels, channels]), [0, 2, 1])
            .reshaped([outputs, channels * pixels])
        layer.parameters = layer.parameters.map { $0.name == "weight" ? ("weight", turned) : $0 }
        var step = step
        step.kind = .layer(layer)
        return step
    }

    // MARK: Groups

    /// torch writes group_norm for ONNX as a normalisation of each of [groups, numbers], and a scale and a shift behind it.
    static func groups(_ steps: [Step]) -> [Step] {
        var steps = steps
        var index = 0
        while index + 2 < steps.count {
            defer { index += 1 }
            guard case .reshape = steps[index].kind, let norm = steps[index + 1].layer, norm.type == "group_norm",
                case .reshape = steps[index + 2].kind, steps[index].input == steps[index + 2].output,
                steps[index + 1].input.count == 2, let groups = steps[index + 1].input.first,
                norm.options["num_groups"] == .integer(groups), let scale = try? norm["weight"]?.floats(),
                let shift = try? norm["bias"]?.floats(), scale.allSatisfy({ $0 == 1 }), shift.allSatisfy({ $0 == 0 })
            else { continue }
            let shape = steps[index].input
            let channels = shape[0]
            guard channels % groups == 0 else { continue }
            func parameter(_ kind: Step.Arithmetic, _ place: Int) -> Tensor? {
                guard place < steps.count, case .constant(kind, let numbers, let given) = steps[place].kind,
                    numbers.count == channels, given.first == channels
                else { return nil }
                return Tensor(shape: [channels], floats: numbers)
            }
            var options: [String: JSONTree] = [
                "num_groups": .integer(groups), "eps": norm.options["eps"] ?? .number(1e-5),
            ]
            var parameters: [(name: String, tensor: Tensor)] = []
            var end = index + 3
            if let gamma = parameter(.multiply, end), let beta = parameter(.add, end + 1) {
                parameters = [("weight", gamma), ("bias", beta)]
                end += 2
            } else {
                options["affine"] = .boolean(false)
            }
            let layer = LayerSketch("group_norm", options, parameters)
            steps.replaceSubrange(
                index..<end,
                with: [Step(kind: .layer(layer), origin: steps[index + 1].origin, input: shape, output: shape)])
        }
        return steps
    }

    // MARK: Squeeze and excite

    /// [c, 1, 1] → [c] → linear … → [c', 1, 1]: a product over channels is a convolution with a kernel of one pixel.
    static func excitations(_ steps: [Step]) -> [Step] {
        var steps = steps
        for first in steps.indices.reversed() {
            guard first < steps.count, case .reshape = steps[first].kind, steps[first].output.count == 1,
                steps[first].input == steps[first].output + [1, 1],
                let last = steps[(first + 1)...].firstIndex(where: {
                    if case .reshape = $0.kind { true } else { false }
                }),
                steps[last].output == steps[last].input + [1, 1],
                steps[(first + 1)..<last].allSatisfy({ isElementwise($0) || $0.isLayer("linear") })
            else { continue }
            for index in (first + 1)..<last {
                steps[index].input += [1, 1]
                steps[index].output += [1, 1]
                guard var layer = steps[index].layer, layer.type == "linear", let weight = layer["weight"],
                    let kernel = try? weight.reshaped(weight.shape + [1, 1])
                else { continue }
                layer.type = "conv2d"
                layer.options["out_channels"] = layer.options.removeValue(forKey: "out_features")
                layer.options["in_features"] = nil
                layer.options["kernel_size"] = .integer(1)
                layer.parameters = layer.parameters.map { $0.name == "weight" ? ("weight", kernel) : $0 }
                steps[index].kind = .layer(layer)
            }
            steps.remove(at: last)
            steps.remove(at: first)
        }
        return steps
    }
}
