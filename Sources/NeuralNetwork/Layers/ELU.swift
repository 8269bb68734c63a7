import CKernels
import Tensors

/// x where x > 0, else alpha·(exp(x) - 1). Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by
/// exponential linear units", 2015 (arXiv 1511.07289).
struct ELU: ActivationLayer {
    static let type = "elu"
    static let options = ["alpha"]

    var alpha = Self.standardAlpha
    private static let standardAlpha = 1.0

    var function: deml_activation { DEML_ELU }
    var kernelOptions: deml_activation_options { deml_activation_options(alpha: Float(alpha), threshold: 0) }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard Float(alpha).isFinite else { throw DeMLError(.outOfRange, "alpha \(alpha) is not finite") }
        return LayerShapes(output: place.input)
    }
}

extension ELU {
    init(_ options: StrictContainer) throws {
        alpha = try options.optional("alpha", Double.self) ?? Self.standardAlpha
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("alpha", alpha, unless: Self.standardAlpha)
    }
}

extension Layer {
    /// x where x > 0, else alpha·(exp(x) - 1).
    public static func elu(alpha: Double = 1) -> Layer { Layer(ELU(alpha: alpha)) }
}
