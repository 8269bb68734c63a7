import CKernels
import Tensors

/// In training each element is zero with probability p, else x/(1-p); the identity otherwise. Srivastava, Hinton,
/// Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent neural networks from overfitting", 2014.
struct Dropout: LayerDefinition {
    static let type = "dropout"
    static let options = ["p"]

    var p = Self.standardProbability
    private static let standardProbability = 0.5

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.check(dropout: p, "p")
        return LayerShapes(output: place.input)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { nil }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        // Counted even where nothing is dropped, so that another layer's numbers do not depend on it.
        let number = network.takeRandomNumber()
        guard p > 0, !network.purpose.isInference else { return x }
        let y = try network.elementwiseOutput(of: x)
        network.append(DropoutOperation(x, y, probability: Float(p), number: number))
        return y
    }
}

extension Dropout {
    init(_ options: StrictContainer) throws {
        p = try options.optional("p", Double.self) ?? Self.standardProbability
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("p", p, unless: Self.standardProbability)
    }
}

extension LayerPlace {
    func check(dropout p: Double, _ key: String) throws(DeMLError) {
        guard p >= 0, p < 1, Float(p) < 1 else {
            throw DeMLError(.outOfRange, "\(key) \(p) is not a probability below 1")
        }
    }
}

extension Layer {
    /// In training each element is zero with probability p, else x/(1-p); the identity otherwise.
    public static func dropout(p: Double = 0.5) -> Layer { Layer(Dropout(p: p)) }
}

/// y[i] = x[i]/(1-p) with probability 1-p, else 0; dx is made of dy in the same way, in place. The mask is never stored: its
/// counter-based numbers are the same when the backward pass asks for them again.
final class DropoutOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let probability: Float
    /// Which of the network's layers that draw random numbers this is.
    private let number: UInt32
    /// The kernels' number of this purpose among all draws of random numbers.
    static let purpose: UInt32 = 1

    init(_ x: Activations, _ y: Activations, probability: Float, number: UInt32) {
        self.x = x
        self.y = y
        self.probability = probability
        self.number = number
    }

    private func random(_ pass: Pass) -> deml_random {
        deml_random(seed: pass.seed, purpose: Self.purpose, epoch: pass.epoch, step: pass.step, layer: number)
    }

    func forward(_ pass: Pass) {
        var random = random(pass)
        deml_dropout(pass.pool, &random, probability, pass.batch * x.size, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        var random = random(pass)
        deml_dropout(pass.pool, &random, probability, pass.batch * x.size, dy, dx)
    }
}
