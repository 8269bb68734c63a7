import CKernels
import Tensors

/// (x - mean)/√(variance + ε)·γ + β over the last dimensions, `normalizedShape`; γ = 1 and β = 0 at the start. Ba, Kiros,
/// Hinton, "Layer normalization", 2016.
struct LayerNorm: LayerDefinition {
    static let type = "layer_norm"
    static let options = ["normalized_shape", "eps", "elementwise_affine", "bias"]

    var normalizedShape: [Int]?
    var epsilon = Self.standardEpsilon
    var affine = true
    var bias = true
    private static let standardEpsilon = 1e-5

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.check(epsilon: epsilon)
        let shape = try place.normalized(normalizedShape)
        return LayerShapes(output: place.input, parameters: affine ? place.scaleAndShift(shape, bias: bias) : [])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try RowNorm(
            shape: normalizedShape ?? layer.input, epsilon: Float(epsilon), affine: affine, bias: bias,
            subtractsMean: true
        ).build(layer, x, &network)
    }
}

extension LayerNorm {
    init(_ options: StrictContainer) throws {
        normalizedShape = try options.optional("normalized_shape", NumberList<Int>.self)?.values
        epsilon = try options.optional("eps", Double.self) ?? Self.standardEpsilon
        affine = try options.optional("elementwise_affine", Bool.self) ?? true
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("normalized_shape", normalizedShape)
        try options.put("eps", epsilon, unless: Self.standardEpsilon)
        try options.put("elementwise_affine", affine, unless: true)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// (x - mean)/√(variance + ε)·γ + β over the last dimensions, `normalizedShape` (nil: the only one).
    public static func layerNorm(
        normalizedShape: [Int]? = nil, epsilon: Double = 1e-5, affine: Bool = true, bias: Bool = true
    ) -> Layer {
        Layer(LayerNorm(normalizedShape: normalizedShape, epsilon: epsilon, affine: affine, bias: bias))
    }
}
