import CKernels
import Tensors

/// (x - mean)/√(variance + ε)·γ + β over groups of channels of one example: [c, ...] → [c, ...]; γ and β `[c]`, 1 and 0 at
/// the start. Wu and He, "Group normalization", 2018.
struct GroupNorm: LayerDefinition {
    static let type = "group_norm"
    static let options = ["num_groups", "num_channels", "eps", "affine"]

    var groups: Int
    var channels: Int?
    var epsilon = Self.standardEpsilon
    var affine = true
    private static let standardEpsilon = 1e-5

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let input = place.input
        try place.match("num_channels", channels, input[0])
        try place.check(epsilon: epsilon)
        guard groups > 0, input[0] % groups == 0 else {
            throw DeMLError(.shape, "num_groups \(groups) does not divide the \(input[0]) channels of \(input)")
        }
        return LayerShapes(output: input, parameters: affine ? place.scaleAndShift([input[0]], bias: true) : [])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let gamma = try affine ? network.parameter(layer.ownParameters[0]) : nil
        let beta = try affine ? network.parameter(layer.ownParameters[1]) : nil
        let y = try network.output(layer.output, .channelsLast, of: input, hasParameters: affine)
        network.append(
            GroupNormOperation(
                input, y, groups: groups, epsilon: Float(epsilon), gamma: gamma, beta: beta,
                statistics: try NormStatistics(rowsPerExample: groups, of: input, in: network)))
        return y
    }
}

extension GroupNorm {
    init(_ options: StrictContainer) throws {
        groups = try options.required("num_groups", Int.self)
        channels = try options.optional("num_channels", Int.self)
        epsilon = try options.optional("eps", Double.self) ?? Self.standardEpsilon
        affine = try options.optional("affine", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("num_groups", groups)
        try options.put("num_channels", channels)
        try options.put("eps", epsilon, unless: Self.standardEpsilon)
        try options.put("affine", affine, unless: true)
    }
}

extension Layer {
    /// (x - mean)/√(variance + ε)·γ + β over groups of channels of one example: [c, ...] → [c, ...]; γ and β `[c]`.
    public static func groupNorm(
        groups: Int, channels: Int? = nil, epsilon: Double = 1e-5, affine: Bool = true
    ) -> Layer {
        Layer(GroupNorm(groups: groups, channels: channels, epsilon: epsilon, affine: affine))
    }
}

/// y = (x - mean)/√(variance + ε)·γ + β over the pixels of each group of channels, x[batch][pixels][channels].
private final class GroupNormOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let groups: Int
    private let epsilon: Float
    private let gamma: Parameter?
    private let beta: Parameter?
    private let statistics: NormStatistics

    init(
        _ x: Activations, _ y: Activations, groups: Int, epsilon: Float, gamma: Parameter?, beta: Parameter?,
        statistics: NormStatistics
    ) {
        self.x = x
        self.y = y
        self.groups = groups
        self.epsilon = epsilon
        self.gamma = gamma
        self.beta = beta
        self.statistics = statistics
    }

    func forward(_ pass: Pass) {
        deml_group_norm_forward(
            pass.pool, pass.batch, x.pixels, x.channels, groups, epsilon, x.values, gamma?.values, beta?.values,
            y.values, statistics.mean, statistics.reciprocal)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient ?? statistics.spare else { return }
        deml_group_norm_backward(
            pass.pool, pass.batch, x.pixels, x.channels, groups, x.values, dy, gamma?.values, statistics.mean,
            statistics.reciprocal, dx, gamma?.sink, beta?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_group_norm_scratch(
            conditions.threads, conditions.isa, conditions.batch, x.pixels, x.channels, groups, conditions.isTraining)
    }
}
