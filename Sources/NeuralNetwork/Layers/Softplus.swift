import CKernels
import Tensors

/// log(1 + exp(beta·x))/beta; x where beta·x is above `threshold`. Dugas, Bengio, Bélisle, Nadeau, Garcia, "Incorporating
/// second-order functional knowledge for better option pricing", 2000.
struct Softplus: ActivationLayer {
    static let type = "softplus"
    static let options = ["beta", "threshold"]

    var beta = Self.standardBeta
    var threshold = Self.standardThreshold
    private static let standardBeta = 1.0
    private static let standardThreshold = 20.0

    var function: deml_activation { DEML_SOFTPLUS }
    var kernelOptions: deml_activation_options {
        deml_activation_options(alpha: Float(beta), threshold: Float(threshold))
    }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard Float(beta).isNormal, (1 / Float(beta)).isNormal else {
            throw DeMLError(.outOfRange, "beta \(beta) is not a number to divide by")
        }
        guard Float(threshold).isFinite else {
            throw DeMLError(.outOfRange, "threshold \(threshold) is not finite")
        }
        return LayerShapes(output: place.input)
    }
}

extension Softplus {
    init(_ options: StrictContainer) throws {
        beta = try options.optional("beta", Double.self) ?? Self.standardBeta
        threshold = try options.optional("threshold", Double.self) ?? Self.standardThreshold
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("beta", beta, unless: Self.standardBeta)
        try options.put("threshold", threshold, unless: Self.standardThreshold)
    }
}

extension Layer {
    /// log(1 + exp(beta·x))/beta; x where beta·x is above `threshold`.
    public static func softplus(beta: Double = 1, threshold: Double = 20) -> Layer {
        Layer(Softplus(beta: beta, threshold: threshold))
    }
}
