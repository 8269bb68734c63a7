import Foundation
import NeuralNetwork
import Tensors

/// What somebody else's model does with one value, on the way to our layers.
struct Step: Sendable {
    /// Where it comes from, for messages.
    struct Origin: Sendable, Equatable {
        var name: String
        /// What the foreign format calls what it does.
        var operation: String

        /// `node 'conv1' (Conv)`
        var place: String { "node \(name.quotedForMessage) (\(ForeignName.shown(operation)))" }

        func refusal(_ message: String, hint: String? = nil, _ code: DeMLError.Code = .malformed) -> DeMLError {
            DeMLError(code, message, place: place, hint: hint)
        }
    }

    enum Kind: Sendable {
        case layer(LayerSketch)
        /// Number by number.
        case function(ScalarFunction)
        /// With a constant that is no single number: in row-major order, of a shape that fits the example's by broadcasting.
        case constant(Arithmetic, [Float], shape: [Int])
        /// To the step's output.
        case reshape
        /// The axes of the example, in their new order.
        case transpose([Int])
        /// Over axes of the example.
        case mean([Int])
        /// Of a sequence [t, c]: its last [c].
        case lastStep
        /// Of a sequence [t, 2·h] of both directions: where each of them ends, [2·h].
        case ends
        case join(Join, [[Step]])
    }

    enum Arithmetic: Sendable { case add, subtract, subtractFrom, multiply, divide, divideInto }

    /// Branches from one value that meet again.
    enum Join: Sendable, Equatable { case add, subtract, multiply, divide, concat, select }

    var kind: Kind
    var origin: Origin
    /// Shapes of one example.
    var input: [Int]
    var output: [Int]

    var layer: LayerSketch? { if case .layer(let layer) = kind { layer } else { nil } }

    func isLayer(_ type: String) -> Bool { layer?.type == type }
}

/// Names of somebody else's, short and harmless.
enum ForeignName {
    static func shown(_ text: String) -> String { String(text.quotedForMessage.dropFirst().dropLast()) }
}

/// A layer of ours in the making.
struct LayerSketch: Sendable {
    var type: String
    var options: [String: JSONTree] = [:]
    /// By the last parts of their names, in the order of `state_dict()`.
    var parameters: [(name: String, tensor: Tensor)] = []
    /// What the foreign file calls them, where it has names that are worth keeping.
    var origins: [String: String] = [:]
    /// It is one more layer of the recurrence before it, not another one.
    var continues = false

    init(_ type: String, _ options: [String: JSONTree] = [:], _ parameters: [(name: String, tensor: Tensor)] = []) {
        self.type = type
        self.options = options
        self.parameters = parameters
    }

    subscript(name: String) -> Tensor? { parameters.first { $0.name == name }?.tensor }

    var tree: JSONTree { .mapping(options.merging(["type": .text(type)]) { _, type in type }) }

    /// What the layer makes of an example, by the rules of the layer itself. Throws what the description does, without place.
    func output(of input: [Int]) throws(DeMLError) -> [Int] {
        // Behind logits only, where they change no shape.
        if type == "softmax" || type == "log_softmax" { return input }
        do throws(DeMLError) {
            let layer = try Self.layer(tree)
            return try ModelDescription(
                input: ModelDescription.Input(shape: input), layers: [layer], loss: .meanSquaredError
            ).outputShape
        } catch {
            var error = error
            error.place = nil
            throw error
        }
    }

    private static func layer(_ tree: JSONTree) throws(DeMLError) -> Layer {
        do {
            return try JSONDecoder().decode(Layer.self, from: try JSONEncoder().encode(tree))
        } catch {
            throw DeMLError(decoding: error, of: "the layer")
        }
    }
}

/// A function of one number.
enum ScalarFunction: Sendable, Equatable {
    case add(Double)
    case subtractFrom(Double)
    case multiply(Double)
    case divideInto(Double)
    case power(Double)
    case clip(Double, Double)
    /// 1 where x is greater (or less), else 0.
    case greater(Double)
    case less(Double)
    case erf, exp, log, sqrt, abs, negative, reciprocal

    func value(_ x: Double) -> Double {
        switch self {
        case .add(let c): x + c
        case .subtractFrom(let c): c - x
        case .multiply(let c): x * c
        case .divideInto(let c): c / x
        case .power(let c): Foundation.pow(x, c)
        case .clip(let low, let high): min(max(x, low), high)
        case .greater(let c): x > c ? 1 : 0
        case .less(let c): x < c ? 1 : 0
        case .erf: Foundation.erf(x)
        case .exp: Foundation.exp(x)
        case .log: Foundation.log(x)
        case .sqrt: x.squareRoot()
        case .abs: Swift.abs(x)
        case .negative: -x
        case .reciprocal: 1 / x
        }
    }
}
