import CKernels
import Tensors

/// x where x > 0, else slope·x. Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
struct LeakyReLU: ActivationLayer {
    static let type = "leaky_relu"
    static let options = ["negative_slope"]

    var negativeSlope = Self.standardSlope
    private static let standardSlope = 0.01

    var function: deml_activation { DEML_LEAKY_RELU }
    var kernelOptions: deml_activation_options { deml_activation_options(alpha: Float(negativeSlope), threshold: 0) }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard Float(negativeSlope).isFinite else {
            throw DeMLError(.outOfRange, "negative_slope \(negativeSlope) is not finite")
        }
        return LayerShapes(output: place.input)
    }
}

extension LeakyReLU {
    init(_ options: StrictContainer) throws {
        negativeSlope = try options.optional("negative_slope", Double.self) ?? Self.standardSlope
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("negative_slope", negativeSlope, unless: Self.standardSlope)
    }
}

extension Layer {
    /// x where x > 0, else slope·x.
    public static func leakyRelu(negativeSlope: Double = 0.01) -> Layer {
        Layer(LeakyReLU(negativeSlope: negativeSlope))
    }
}
