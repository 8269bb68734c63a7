import CKernels
import Tensors

/// What layer_norm and rms_norm share: rows of the last dimensions, each normalised by its own statistics.
struct RowNorm {
    let shape: [Int]
    let epsilon: Float
    let affine: Bool
    let bias: Bool
    /// layer_norm; rms_norm leaves the mean as it is.
    let subtractsMean: Bool

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        // Over whole images the order of the numbers does not matter, as long as γ and β have it too.
        let isWholeImage = x.layout == .channelsLast && shape.count == x.shape.count
        let input = isWholeImage ? x : try network.converted(x, to: .torch)
        let order: ParameterOrder? = isWholeImage ? .image(channels: x.channels, pixels: x.pixels) : nil
        let gamma = try affine ? network.parameter(layer.ownParameters[0], order) : nil
        let beta = try affine && bias ? network.parameter(layer.ownParameters[1], order) : nil
        let y = try network.output(layer.output, input.layout, of: input, hasParameters: affine)
        let size = shape.reduce(1, *)
        network.append(
            RowNormOperation(
                input, y, size: size, epsilon: epsilon, subtractsMean: subtractsMean, gamma: gamma, beta: beta,
                statistics: try NormStatistics(rowsPerExample: input.size / size, of: input, in: network)))
        return y
    }
}

extension LayerPlace {
    /// The dimensions that are normalised: those given, or the only one there is.
    func normalized(_ given: [Int]?) throws(DeMLError) -> [Int] {
        guard let shape = given ?? (input.count == 1 ? input : nil) else {
            throw DeMLError(
                .missing, "\(type) needs normalized_shape where the input has several dimensions: \(input)")
        }
        guard !shape.isEmpty, input.suffix(shape.count) == shape[...] else {
            throw DeMLError(.shape, "normalized_shape \(shape) is not the end of the input shape \(input)")
        }
        return shape
    }
}

extension ParameterOrder {
    /// torch [channels][pixels], here [pixels][channels].
    fileprivate static func image(channels: Int, pixels: Int) -> ParameterOrder {
        ParameterOrder(
            load: { deml_nchw_to_nhwc($0, 1, channels, pixels, $1, $2) },
            store: { deml_nhwc_to_nchw($0, 1, channels, pixels, $1, $2) })
    }
}

/// y = (x - mean)/√(variance + ε)·γ + β over rows of `size` numbers; without the mean y = x/√(mean of x² + ε)·γ + β.
private final class RowNormOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let size: Int
    private let epsilon: Float
    private let gamma: Parameter?
    private let beta: Parameter?
    private let statistics: NormStatistics
    /// [rows]; nil where nothing is subtracted.
    private let mean: UnsafeMutablePointer<Float>?

    init(
        _ x: Activations, _ y: Activations, size: Int, epsilon: Float, subtractsMean: Bool, gamma: Parameter?,
        beta: Parameter?, statistics: NormStatistics
    ) {
        self.x = x
        self.y = y
        self.size = size
        self.epsilon = epsilon
        self.gamma = gamma
        self.beta = beta
        self.statistics = statistics
        mean = subtractsMean ? statistics.mean : nil
    }

    func forward(_ pass: Pass) {
        deml_layer_norm_forward(
            pass.pool, pass.batch * x.size / size, size, epsilon, x.values, gamma?.values, beta?.values, y.values,
            mean, statistics.reciprocal)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient ?? statistics.spare else { return }
        deml_layer_norm_backward(
            pass.pool, pass.batch * x.size / size, size, x.values, dy, gamma?.values, mean, statistics.reciprocal, dx,
            gamma?.sink, beta?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_layer_norm_scratch(conditions.threads, conditions.isa, size, conditions.isTraining)
    }
}
