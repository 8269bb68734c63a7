import NeuralNetwork
import Tensors

/// A model's layers and the numbers in them, made of simplified steps.
struct ModelAssembly {
    private(set) var input: ModelDescription.Input
    private(set) var layers: [JSONTree] = []
    /// By the names of `state_dict()`.
    private(set) var tensors: [String: Tensor] = [:]
    /// What the foreign file calls them, where it has names that are worth keeping.
    private(set) var names: [String: String] = [:]
    private(set) var notes: [String] = []
    /// The numbers by the names of our parameters, in a fixed order.
    var named: [(name: String, tensor: Tensor)] {
        tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// How many tokens there are, where the model's input is tokens.
    var tokens: Int? { layers.first.flatMap { $0["type"]?.text == "embedding" ? $0["num_embeddings"]?.int : nil } }

    /// The model ends in probabilities of classes, or their logarithms.
    var isClassifier: Bool {
        guard let type = layers.last?["type"]?.text else { return false }
        return type == "softmax" || type == "log_softmax"
    }

    /// - Throws: a refusal of the first step that no layer here does.
    init(_ steps: [Step], inputShape: [Int]) throws(DeMLError) {
        var steps = try Simplifier.simplified(steps)
        input = ModelDescription.Input(shape: inputShape)
        switch steps.first?.kind {
        case .transpose([2, 0, 1]):
            notes.append("images are taken as [channels, height, width], not with the channels last")
            input.shape = steps.removeFirst().output
        case .transpose([1, 0]):
            notes.append("sequences are taken as [channels, length], not with the channels last")
            input.shape = steps.removeFirst().output
        default: break
        }
        steps = scaled(steps)
        layers = try list(steps, prefix: "")
        guard !layers.isEmpty else {
            throw DeMLError(.missing, "the model does nothing with its input", hint: "a model has at least one layer")
        }
    }

    /// Takes what the model does first with each number as the input's scale: (x/divide_by - mean)/std.
    private mutating func scaled(_ steps: [Step]) -> [Step] {
        var (slope, offset) = ([1.0], [0.0])
        var count = 0
        func combine(_ left: [Double], _ right: [Double], _ body: (Double, Double) -> Double) -> [Double] {
            let width = max(left.count, right.count)
            return (0..<width).map { body(left[left.count == 1 ? 0 : $0], right[right.count == 1 ? 0 : $0]) }
        }
        for step in steps {
            var numbers: [Double]
            let kind: Step.Arithmetic
            switch step.kind {
            case .function(.add(let number)): (kind, numbers) = (.add, [number])
            case .function(.multiply(let number)): (kind, numbers) = (.multiply, [number])
            case .constant(let given, let values, let shape):
                let padded = [Int](repeating: 1, count: max(0, step.input.count - shape.count)) + shape
                guard padded.count == step.input.count, padded.dropFirst().allSatisfy({ $0 == 1 }), padded[0] > 1 else {
                    kind = .divideInto
                    numbers = []
                    break
                }
                (kind, numbers) = (given, values.map(Double.init))
            default: (kind, numbers) = (.divideInto, [])
            }
            switch kind {
            case .add: offset = combine(offset, numbers, +)
            case .subtract: offset = combine(offset, numbers, -)
            case .multiply: (slope, offset) = (combine(slope, numbers, *), combine(offset, numbers, *))
            case .divide: (slope, offset) = (combine(slope, numbers, /), combine(offset, numbers, /))
            default: numbers = []
            }
            guard !numbers.isEmpty else { break }
            count += 1
        }
        // A model of nothing else keeps what it does.
        guard count > 0, count < steps.count, slope.allSatisfy({ $0 > 0 && $0.isFinite }) else { return steps }
        let rest = Array(steps.dropFirst(count))
        if slope.count == 1, offset.allSatisfy({ $0 == 0 }) {
            input.divideBy = Self.short(1 / slope[0]) { Float(1 / $0) == Float(slope[0]) }
            return rest
        }
        let deviation = combine(slope, offset) { slope, _ in Self.short(1 / slope) { Float(1 / $0) == Float(slope) } }
        let mean = combine(offset, deviation) { offset, deviation in
            Self.short(-offset * deviation) { Float(-$0 / deviation) == Float(offset) }
        }
        input.mean = mean
        input.standardDeviation = deviation
        return rest
    }

    /// What single precision says, in as few digits as give the number in the file again.
    private static func short(_ value: Double, _ isSame: (Double) -> Bool) -> Double {
        let whole = value.rounded()
        if abs(whole - value) < 1e-5 * abs(value) { return whole }
        guard let short = Double("\(Float(value))"), isSame(short) else { return value }
        return short
    }

    // MARK: The tree

    private mutating func list(_ steps: [Step], prefix: String) throws(DeMLError) -> [JSONTree] {
        var trees: [JSONTree] = []
        for step in steps { trees.append(try tree(step, prefix + "\(trees.count)")) }
        return trees
    }

    private mutating func tree(_ step: Step, _ name: String) throws(DeMLError) -> JSONTree {
        switch step.kind {
        case .layer(let layer):
            for (key, tensor) in layer.parameters {
                tensors["\(name).\(key)"] = tensor
                if let origin = layer.origins[key], !origin.isEmpty { names["\(name).\(key)"] = origin }
            }
            return layer.tree
        case .reshape:
            guard step.output.count == 1 else {
                throw step.origin.refusal(
                    "it makes the shape \(step.output) of \(step.input)", hint: "flatten makes one dimension of all")
            }
            return LayerSketch("flatten").tree
        case .join(let join, let branches): return try block(join, branches, step, name)
        case .transpose(let axes):
            throw step.origin.refusal(
                "it turns \(step.input) to the axes \(axes)", hint: "no layer here moves axes")
        case .lastStep, .ends:
            throw step.origin.refusal(
                "it takes the last step of what is no recurrence", hint: "lstm and gru have output: last")
        case .mean(let axes):
            throw step.origin.refusal(
                "it takes means over the axes \(axes) of \(step.input)",
                hint: "global_avg_pool2d is over height and width")
        case .function, .constant:
            throw step.origin.refusal(
                "it is an arithmetic that no layer here does",
                hint: "biases, scales of channels, and the activations \(Self.activations) are known")
        }
    }

    private static let activations = "relu, gelu, silu, hard_swish, elu, leaky_relu, sigmoid, tanh and softplus"

    private mutating func block(
        _ join: Step.Join, _ branches: [[Step]], _ step: Step, _ name: String
    ) throws(DeMLError) -> JSONTree {
        switch join {
        case .concat:
            var trees: [JSONTree] = []
            for (index, branch) in branches.enumerated() {
                trees.append(.list(try list(branch, prefix: "\(name).branches.\(index).")))
            }
            return LayerSketch("concat", ["branches": .list(trees)]).tree
        case .add:
            guard branches.allSatisfy({ ($0.last?.output ?? step.input) == step.output }) else {
                throw step.origin.refusal("it adds values of different shapes", hint: "residual adds equal shapes")
            }
            // The layers first, then what is beside them: the shorter way, or nothing.
            var sorted = branches.sorted { $0.count > $1.count }
            guard let layers = sorted.first, !layers.isEmpty, sorted.count(where: \.isEmpty) <= 1 else {
                throw step.origin.refusal(
                    "it adds a value to itself", hint: "a residual block adds what layers make of it")
            }
            // More than two: a sum within a sum.
            if sorted.count > 2 {
                let rest = sorted.removeLast()
                let inner = Step(
                    kind: .join(.add, sorted), origin: step.origin, input: step.input, output: step.output)
                sorted = [[inner], rest]
            }
            var options: [String: JSONTree] = ["layers": .list(try list(sorted[0], prefix: "\(name).layers."))]
            if let beside = sorted.last, sorted.count == 2, !beside.isEmpty {
                options["projection"] = .list(try list(beside, prefix: "\(name).projection."))
            }
            return LayerSketch("residual", options).tree
        case .multiply:
            guard branches.count == 2, let place = branches.firstIndex(where: \.isEmpty), !branches[1 - place].isEmpty,
                step.output == step.input
            else {
                throw step.origin.refusal(
                    "it multiplies two values", hint: "a gate multiplies a value with what layers make of it")
            }
            return LayerSketch(
                "gate", ["layers": .list(try list(branches[1 - place], prefix: "\(name).layers."))]
            ).tree
        case .subtract, .divide, .select:
            throw step.origin.refusal("it works on two values in a way that no layer here does")
        }
    }
}
