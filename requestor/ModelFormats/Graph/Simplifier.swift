import Foundation
import NeuralNetwork
import Tensors

/// Brings steps to layers: what exporters write in many small operators becomes the layer it was.
///
/// Functions of one number are recognised by what they compute, not by how they are written: any run of steps that work
/// number by number (`x·½·(1 + erf(x/√2))`, `x·clip(x + 3, 0, 6)/6`, in whichever order an exporter wrote them) is evaluated at
/// points between -30 and 30 and compared with the activations there are.
struct Simplifier {
    /// The steps as layers and blocks. What stays anything else is refused by ``ModelAssembly``.
    static func simplified(_ steps: [Step]) throws(DeMLError) -> [Step] {
        var steps = steps
        for index in steps.indices {
            guard case .join(let join, let branches) = steps[index].kind else { continue }
            var inner: [[Step]] = []
            for branch in branches { inner.append(try simplified(branch)) }
            steps[index].kind = .join(join, inner)
        }
        steps = joinShapes(steps)
        steps = functions(steps)
        steps = groups(normalizations(steps))
        steps = means(affine(steps))
        steps = try joinShapes(channelsLast(steps))
        return lastSteps(layersOfRecurrences(excitations(steps)))
    }

    // MARK: Shapes

    /// Reshapes one behind the other are one, and none where nothing changes.
    private static func joinShapes(_ steps: [Step]) -> [Step] {
        var result: [Step] = []
        for step in steps {
            guard case .reshape = step.kind else {
                result.append(step)
                continue
            }
            var step = step
            while let last = result.last, case .reshape = last.kind {
                step.input = last.input
                result.removeLast()
            }
            if step.input != step.output { result.append(step) }
        }
        return result
    }

    // MARK: Functions of one number

    /// What the steps make of one number; nil where they do more than that.
    private static func value(_ steps: ArraySlice<Step>, _ x: Double) -> Double? {
        var x = x
        for step in steps {
            switch step.kind {
            case .function(let function): x = function.value(x)
            case .layer(let layer):
                guard let next = Activation.value(layer, x) else { return nil }
                x = next
            case .join(let join, let branches):
                var values: [Double] = []
                for branch in branches {
                    guard let value = value(branch[...], x) else { return nil }
                    values.append(value)
                }
                switch join {
                case .add: x = values.reduce(0, +)
                case .subtract: x = values[0] - values[1]
                case .multiply: x = values.reduce(1, *)
                case .divide: x = values[0] / values[1]
                case .select: x = values.count == 3 ? (values[0] != 0 ? values[1] : values[2]) : .nan
                case .concat: return nil
                }
            default: return nil
            }
        }
        return x
    }

    /// The longest runs first; a run that is an activation already stays as it is.
    private static func functions(_ steps: [Step]) -> [Step] {
        var steps = steps
        var start = 0
        while start < steps.count {
            var end = start
            while end < steps.count, end < start + 24, value(steps[end...end], 0.5) != nil { end += 1 }
            while end > start {
                let run = steps[start..<end]
                let isPlain = run.count == 1 && run[start].layer != nil
                if !isPlain, let layer = Activation.matching({ value(run, $0) }) {
                    let last = run[end - 1]
                    let origin =
                        run.count == 1
                        ? last.origin : Step.Origin(name: last.origin.name, operation: last.origin.operation)
                    steps.replaceSubrange(
                        start..<end,
                        with: layer.type == "identity"
                            ? []
                            : [Step(kind: .layer(layer), origin: origin, input: run[start].input, output: last.output)])
                    end = start
                    break
                }
                end -= 1
            }
            start += 1
        }
        return steps
    }

    // MARK: Normalisations written out

    /// (x - mean)/√(mean of squares + ε)·γ + β, and the same without the mean.
    private static func normalizations(_ steps: [Step]) -> [Step] {
        var steps = steps
        var index = 0
        while index < steps.count {
            defer { index += 1 }
            var first = index
            // x - mean(x)
            var centred: [Int]?
            if case .join(.subtract, let branches) = steps[index].kind, branches.count == 2, branches[0].isEmpty,
                branches[1].count == 1, let axes = meanAxes(branches[1][0]), index + 1 < steps.count
            {
                centred = axes
                first = index
                index += 1
            }
            guard let (axes, epsilon) = rootMeanSquare(steps[index]), centred == nil || centred == axes else {
                continue
            }
            let shape = steps[index].input
            // Over the last axes only.
            guard axes == Array((shape.count - axes.count)..<shape.count) else { continue }
            let inner = Array(shape.suffix(axes.count))
            var end = index + 1
            func parameter(_ kind: Step.Arithmetic) -> Tensor? {
                guard end < steps.count, case .constant(kind, let numbers, let given) = steps[end].kind,
                    ConstantMath.broadcast(inner, given) == inner
                else { return nil }
                end += 1
                let all = ConstantMath.expanded(numbers.map(Double.init), from: given, to: inner)
                return Tensor(shape: inner, floats: all.map { Float($0) })
            }
            let gamma = parameter(.multiply)
            let beta = gamma != nil && centred != nil ? parameter(.add) : nil
            var options: [String: JSONTree] = ["normalized_shape": .ints(inner), "eps": .number(epsilon)]
            var parameters: [(name: String, tensor: Tensor)] = []
            if let gamma {
                parameters.append(("weight", gamma))
            } else {
                options["elementwise_affine"] = .boolean(false)
            }
            if let beta { parameters.append(("bias", beta)) }
            if gamma != nil, beta == nil, centred != nil { options["bias"] = .boolean(false) }
            let layer = LayerSketch(centred == nil ? "rms_norm" : "layer_norm", options, parameters)
            steps.replaceSubrange(
                first..<end,
                with: [Step(kind: .layer(layer), origin: steps[end - 1].origin, input: shape, output: shape)])
            index = first
        }
        return steps
    }

    /// x/√(mean(x²) + ε), as a quotient or a product; the axes and ε.
    private static func rootMeanSquare(_ step: Step) -> (axes: [Int], epsilon: Double)? {
        guard case .join(let join, let branches) = step.kind, join == .divide || join == .multiply, branches.count == 2,
            let place = branches.firstIndex(where: \.isEmpty), join == .multiply || place == 0
        else { return nil }
        let branch = branches[1 - place]
        guard branch.count >= 3 else { return nil }
        // x², written as a power or a product.
        let square: Bool
        switch branch[0].kind {
        case .function(.power(2)): square = true
        case .join(.multiply, let inner): square = inner.allSatisfy(\.isEmpty) && inner.count == 2
        default: square = false
        }
        guard square, let axes = meanAxes(branch[1]) else { return nil }
        let rest = branch[2...]
        guard let epsilon = value(rest, 0).map({ join == .divide ? $0 * $0 : 1 / ($0 * $0) }), epsilon > 0,
            epsilon < 0.1
        else { return nil }
        for x in [0.01, 0.5, 1, 7.0, 100] {
            let root = (x + epsilon).squareRoot()
            guard let found = value(rest, x), abs(found - (join == .divide ? root : 1 / root)) < 1e-5 * (1 + root)
            else { return nil }
        }
        // A float's ε has more digits than what was written.
        let short = Double(String(format: "%.3g", epsilon)) ?? epsilon
        return (axes, abs(short - epsilon) < 1e-4 * epsilon ? short : epsilon)
    }

    // MARK: Constants beside products

    /// Biases and scales that stand beside the product they belong to become part of it; those of channels alone become a
    /// convolution of each channel with itself.
    private static func affine(_ steps: [Step]) -> [Step] {
        var result: [Step] = []
        for step in steps {
            if let last = result.last, var layer = last.layer, let changed = merged(step, into: layer, last.output) {
                layer = changed
                result[result.count - 1].kind = .layer(layer)
                continue
            }
            result.append(step)
        }
        // What comes first is the input's own scale.
        let begin = result.firstIndex { step in
            switch step.kind {
            case .function, .constant: false
            default: true
            }
        }
        for index in (begin ?? result.count)..<result.count {
            guard result[index].output.count == 3, let count = result[index].output.first,
                let (kind, channels) = perChannel(result[index].kind, result[index].output)
            else { continue }
            var weight = [Float](repeating: 1, count: count)
            var bias = [Float](repeating: 0, count: count)
            switch kind {
            case .add: bias = channels
            case .subtract: bias = channels.map { -$0 }
            case .subtractFrom: (weight, bias) = (weight.map { -$0 }, channels)
            case .multiply: weight = channels
            case .divide: weight = channels.map { 1 / $0 }
            case .divideInto: continue
            }
            let layer = LayerSketch(
                "conv2d", ["out_channels": .integer(count), "kernel_size": .integer(1), "groups": .integer(count)],
                [
                    ("weight", Tensor(shape: [count, 1, 1, 1], floats: weight)),
                    ("bias", Tensor(shape: [count], floats: bias)),
                ])
            result[index].kind = .layer(layer)
        }
        // A scale and the shift behind it are one convolution.
        var index = 1
        while index < result.count {
            if let first = result[index - 1].layer, let second = result[index].layer, let both = joined(first, second) {
                result[index - 1].kind = .layer(both)
                result.remove(at: index)
            } else {
                index += 1
            }
        }
        return result
    }

    private static func isScale(_ layer: LayerSketch) -> Bool {
        guard layer.type == "conv2d", let weight = layer["weight"], layer.options["kernel_size"] == .integer(1) else {
            return false
        }
        return layer.options["groups"] == .integer(weight.shape[0]) && layer.options.count == 3
    }

    private static func joined(_ first: LayerSketch, _ second: LayerSketch) -> LayerSketch? {
        guard isScale(first), isScale(second), let a = try? first["weight"]?.floats(),
            let b = try? first["bias"]?.floats(),
            let c = try? second["weight"]?.floats(), let d = try? second["bias"]?.floats()
        else { return nil }
        var layer = first
        layer.parameters = [
            ("weight", Tensor(shape: [a.count, 1, 1, 1], floats: zip(a, c).map { $0 * $1 })),
            ("bias", Tensor(shape: [b.count], floats: zip(zip(b, c), d).map { $0.0 * $0.1 + $1 })),
        ]
        return layer
    }

    /// What is done with each channel, where that is a sum or a product with a number.
    private static func perChannel(_ kind: Step.Kind, _ value: [Int]) -> (Step.Arithmetic, [Float])? {
        switch kind {
        case .constant(let kind, let numbers, let shape):
            perChannel(numbers, shape, value).map { (kind, $0) }
        case .function(.add(let number)): (.add, [Float](repeating: Float(number), count: value[0]))
        case .function(.multiply(let number)): (.multiply, [Float](repeating: Float(number), count: value[0]))
        default: nil
        }
    }

    /// One number for each channel, where a constant is that.
    private static func perChannel(_ numbers: [Float], _ shape: [Int], _ value: [Int]) -> [Float]? {
        let padded = [Int](repeating: 1, count: max(0, value.count - shape.count)) + shape
        guard padded.count == value.count, padded[0] == value[0], padded.dropFirst().allSatisfy({ $0 == 1 }) else {
            return nil
        }
        return numbers
    }

    /// A constant behind a layer with a weight, as part of it: its bias, or a scale of its outputs.
    private static func merged(_ step: Step, into layer: LayerSketch, _ output: [Int]) -> LayerSketch? {
        if ["attention", "tied_linear"].contains(layer.type), let outputs = output.last {
            let numbers: [Float]
            switch step.kind {
            case .constant(.add, let values, let shape) where shape.last == outputs && values.count == outputs:
                numbers = values
            case .function(.add(let number)): numbers = [Float](repeating: Float(number), count: outputs)
            default: return nil
            }
            return layer.type == "tied_linear"
                ? shifted(layer, "bias", by: numbers)
                : shifted(layer, "out_proj.bias", by: numbers, beside: ("in_proj_bias", "in_proj_weight"))
        }
        if layer.type == "batch_norm" || layer.type == "group_norm" {
            guard let weight = try? layer["weight"]?.floats(), let bias = try? layer["bias"]?.floats(),
                weight.count == output[0], let (kind, numbers) = perChannel(step.kind, output)
            else { return nil }
            let affine: (weight: [Float], bias: [Float])
            switch kind {
            case .add: affine = (weight, zip(bias, numbers).map { $0 + $1 })
            case .subtract: affine = (weight, zip(bias, numbers).map { $0 - $1 })
            case .multiply: affine = (zip(weight, numbers).map { $0 * $1 }, zip(bias, numbers).map { $0 * $1 })
            default: return nil
            }
            var layer = layer
            layer.parameters = layer.parameters.map { name, tensor in
                switch name {
                case "weight": (name, Tensor(shape: tensor.shape, floats: affine.weight))
                case "bias": (name, Tensor(shape: tensor.shape, floats: affine.bias))
                default: (name, tensor)
                }
            }
            return layer
        }
        guard ["linear", "conv2d", "conv1d", "conv_transpose2d"].contains(layer.type), let weight = layer["weight"]
        else {
            return nil
        }
        let outputs = layer.type == "linear" ? output[output.count - 1] : output[0]
        let numbers: [Float]
        let kind: Step.Arithmetic
        switch step.kind {
        case .constant(let given, let values, let shape):
            kind = given
            if layer.type == "linear" {
                guard shape.last == outputs, values.count == outputs else { return nil }
                numbers = values
            } else {
                guard let channels = perChannel(values, shape, output) else { return nil }
                numbers = channels
            }
        case .function(.add(let number)): (kind, numbers) = (.add, [Float](repeating: Float(number), count: outputs))
        case .function(.multiply(let number)):
            (kind, numbers) = (.multiply, [Float](repeating: Float(number), count: outputs))
        default: return nil
        }
        if kind == .multiply || kind == .divide {
            return scaled(layer, by: kind == .multiply ? numbers : numbers.map { 1 / $0 })
        }
        guard kind == .add || kind == .subtract else { return nil }
        var layer = layer
        let shift = kind == .add ? numbers : numbers.map { -$0 }
        let bias = try? layer["bias"]?.floats()
        let sum = bias.map { zip($0, shift).map { $0 + $1 } } ?? shift
        layer.parameters = [("weight", weight), ("bias", Tensor(shape: [outputs], floats: sum))]
        layer.options["bias"] = nil
        return layer
    }

    /// A layer whose outputs are multiplied, where its weight has a row for each output.
    private static func scaled(_ layer: LayerSketch, by factors: [Float]) -> LayerSketch? {
        guard layer.type != "conv_transpose2d", let weight = layer["weight"], weight.shape.first == factors.count,
            factors.allSatisfy(\.isFinite), let values = try? weight.floats()
        else { return nil }
        let width = weight.count / max(1, factors.count)
        var layer = layer
        layer.parameters = layer.parameters.map { name, tensor in
            let each = name == "weight" ? width : 1
            guard let numbers = name == "weight" ? values : try? tensor.floats() else { return (name, tensor) }
            return (
                name,
                Tensor(shape: tensor.shape, floats: numbers.enumerated().map { $1 * factors[$0 / max(1, each)] })
            )
        }
        return layer
    }

    /// A layer with a number more added to each feature; where it had no bias, with zeros for its other bias too.
    private static func shifted(
        _ layer: LayerSketch, _ name: String, by numbers: [Float], beside: (bias: String, weight: String)? = nil
    ) -> LayerSketch? {
        var layer = layer
        var sum = numbers
        if let own = try? layer[name]?.floats() { sum = zip(own, numbers).map { $0 + $1 } }
        if let beside, layer[beside.bias] == nil,
            let place = layer.parameters.firstIndex(where: { $0.name == beside.weight })
        {
            let count = layer.parameters[place].tensor.shape[0]
            layer.parameters.insert(
                (beside.bias, Tensor(shape: [count], floats: [Float](repeating: 0, count: count))), at: place + 1)
        }
        layer.parameters.removeAll { $0.name == name }
        layer.parameters.append((name, Tensor(shape: [sum.count], floats: sum)))
        // Attention has biases where nothing is said, a tied layer where it is.
        layer.options["bias"] = beside == nil ? .boolean(true) : nil
        return layer
    }

    // MARK: Recurrences

    /// A recurrence of several layers, which ONNX writes as several nodes.
    private static func layersOfRecurrences(_ steps: [Step]) -> [Step] {
        var result: [Step] = []
        for step in steps {
            guard let next = step.layer, next.continues, let last = result.last, var layer = last.layer,
                layer.type == next.type
            else {
                result.append(step)
                continue
            }
            let count = layer.options["num_layers"]?.int ?? 1
            layer.options["num_layers"] = .integer(count + 1)
            layer.parameters += next.parameters.map { ($0.name.replacing("_l0", with: "_l\(count)"), $0.tensor) }
            result[result.count - 1].kind = .layer(layer)
            result[result.count - 1].output = step.output
        }
        return result
    }

    /// A recurrence of which only the last step is taken, with nothing but dropout between.
    private static func lastSteps(_ steps: [Step]) -> [Step] {
        var steps = steps
        var index = 0
        while index < steps.count {
            defer { index += 1 }
            let directions: Int
            switch steps[index].kind {
            case .lastStep: directions = 1
            case .ends: directions = 2
            default: continue
            }
            guard index > 0, var layer = steps[index - 1].layer, layer.type == "lstm" || layer.type == "gru",
                (layer.options["bidirectional"] == .boolean(true)) == (directions == 2)
            else { continue }
            layer.options["output"] = .text("last")
            steps[index - 1].kind = .layer(layer)
            steps[index - 1].output = steps[index].output
            steps.remove(at: index)
            index -= 1
        }
        return steps
    }

    // MARK: Means

    /// The axes that a step takes the mean over, though it has become a pool: branches are simplified before what they are
    /// branches of.
    private static func meanAxes(_ step: Step) -> [Int]? {
        if case .mean(let axes) = step.kind { return axes }
        switch step.layer?.type {
        case "adaptive_avg_pool1d" where step.layer?.options["output_size"]?.int == 1: return [1]
        case "global_avg_pool2d": return [1, 2]
        default: return nil
        }
    }

    /// Means over height and width, or over the length of a sequence.
    private static func means(_ steps: [Step]) -> [Step] {
        var steps = steps
        for index in steps.indices {
            let line = LayerSketch("adaptive_avg_pool1d", ["output_size": .integer(1)])
            switch steps[index].kind {
            case .mean([1]) where steps[index].input.count == 2: steps[index].kind = .layer(line)
            case .mean([1, 2]) where steps[index].input.count == 3:
                // torch writes the mean of a sequence as that of an image with one row.
                if index > 0, case .reshape = steps[index - 1].kind, steps[index - 1].input.count == 2,
                    steps[index].input == [steps[index - 1].input[0], 1, steps[index - 1].input[1]]
                {
                    steps[index - 1].kind = .layer(line)
                    steps[index - 1].output = [steps[index].input[0], 1]
                    steps[index].input = steps[index - 1].output
                    steps[index].kind = .reshape
                } else {
                    steps[index].kind = .layer(LayerSketch("global_avg_pool2d"))
                }
            default: break
            }
        }
        return steps
    }
}
