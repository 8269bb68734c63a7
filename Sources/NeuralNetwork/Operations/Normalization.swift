import CKernels

/// y = (x - mean)/√(variance + ε)·γ + β over rows of `size` numbers (Ba, Kiros, Hinton, "Layer normalization", 2016).
final class LayerNorm: Operation {
    private let x: Activations
    private let y: Activations
    private let size: Int
    private let epsilon: Float
    private let gamma: Parameter?
    private let beta: Parameter?
    private let statistics: NormStatistics

    init(
        _ x: Activations, _ y: Activations, size: Int, epsilon: Float, gamma: Parameter?, beta: Parameter?,
        statistics: NormStatistics
    ) {
        self.x = x
        self.y = y
        self.size = size
        self.epsilon = epsilon
        self.gamma = gamma
        self.beta = beta
        self.statistics = statistics
    }

    func forward(_ pass: Pass) {
        deml_layer_norm_forward(
            pass.pool, pass.batch * x.size / size, size, epsilon, x.values, gamma?.values, beta?.values, y.values,
            statistics.mean, statistics.reciprocal)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient ?? statistics.spare else { return }
        deml_layer_norm_backward(
            pass.pool, pass.batch * x.size / size, size, x.values, dy, gamma?.values, statistics.mean,
            statistics.reciprocal, dx, gamma?.sink, beta?.sink)
    }
}

/// The same over the pixels of each group of channels, x[batch][pixels][channels] (Wu and He, "Group normalization",
/// 2018).
final class GroupNorm: Operation {
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
}

/// What the backward pass of a normalisation needs of the forward pass.
struct NormStatistics {
    /// [rows]
    let mean: UnsafeMutablePointer<Float>
    /// [rows]: 1/√(variance + ε).
    let reciprocal: UnsafeMutablePointer<Float>
    /// Takes the input's gradient where nobody asks for it.
    let spare: UnsafeMutablePointer<Float>?
}
