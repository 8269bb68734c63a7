import CKernels
import Tensors

/// x/√(mean of x² + ε)·γ over the last dimensions, `normalizedShape`; γ = 1 at the start. Zhang and Sennrich, "Root mean
/// square layer normalization", 2019 (arXiv 1910.07467), in the form of torch.nn.RMSNorm.
struct RMSNorm: LayerDefinition {
    static let type = "rms_norm"
    static let options = ["normalized_shape", "eps", "elementwise_affine"]

    var normalizedShape: [Int]?
    var epsilon = Self.standardEpsilon
    var affine = true
    /// torch's default is the precision of the input's type.
    private static let standardEpsilon = Double(Float.ulpOfOne)

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.check(epsilon: epsilon)
        let shape = try place.normalized(normalizedShape)
        return LayerShapes(output: place.input, parameters: affine ? place.scaleAndShift(shape, bias: false) : [])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try RowNorm(
            shape: normalizedShape ?? layer.input, epsilon: Float(epsilon), affine: affine, bias: false,
            subtractsMean: false
        ).build(layer, x, &network)
    }
}

extension RMSNorm {
    init(_ options: StrictContainer) throws {
        normalizedShape = try options.optional("normalized_shape", NumberList<Int>.self)?.values
        epsilon = try options.optional("eps", Double.self) ?? Self.standardEpsilon
        affine = try options.optional("elementwise_affine", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("normalized_shape", normalizedShape)
        try options.put("eps", epsilon, unless: Self.standardEpsilon)
        try options.put("elementwise_affine", affine, unless: true)
    }
}

extension Layer {
    /// x/√(mean of x² + ε)·γ over the last dimensions, `normalizedShape` (nil: the only one).
    public static func rmsNorm(
        normalizedShape: [Int]? = nil, epsilon: Double = Double(Float.ulpOfOne), affine: Bool = true
    ) -> Layer {
        Layer(RMSNorm(normalizedShape: normalizedShape, epsilon: epsilon, affine: affine))
    }
}
