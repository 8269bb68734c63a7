import CKernels
import Tensors

/// Tieleman and Hinton, "Lecture 6.5: RMSprop", 2012, in the form of torch.optim.RMSprop.
///
/// g ← gradient + weightDecay·p; v ← alpha·v + (1-alpha)·g²; s = g/(√v + ε);
/// p ← p - learningRate·s, or with momentum b ← momentum·b + s; p ← p - learningRate·b.
/// Centered (Graves, "Generating sequences with recurrent neural networks", 2013, arXiv 1308.0850): m ← alpha·m + (1-alpha)·g;
/// s = g/(√(v - m²) + ε), v - m² being at least 0; not together with momentum, for which a third array would be kept.
struct RMSprop: Optimizer {
    static let type = "rmsprop"
    static let options = ["alpha", "epsilon", "weight_decay", "momentum", "centered"]
    static let standardLearningRate = 1e-2

    var learningRate: Double
    var alpha: Double
    var epsilon: Double
    var weightDecay: Double
    var momentum: Double
    var centered: Bool

    init(
        learningRate: Double, alpha: Double, epsilon: Double, weightDecay: Double, momentum: Double, centered: Bool
    ) {
        self.learningRate = learningRate
        self.alpha = alpha
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.momentum = momentum
        self.centered = centered
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        self.init(
            learningRate: learningRate, alpha: try given.number("alpha") ?? 0.99,
            epsilon: try given.number("epsilon") ?? 1e-8, weightDecay: try given.number("weight_decay") ?? 0,
            momentum: try given.number("momentum") ?? 0, centered: try given.flag("centered") ?? false)
    }

    var stateNames: [String] {
        ["square_avg"] + (momentum == 0 ? [] : ["momentum_buffer"]) + (centered ? ["grad_avg"] : [])
    }

    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.kind = DEML_RMSPROP
        kernel.learning_rate = Float(learningRate)
        kernel.beta2 = Float(alpha)
        kernel.epsilon = Float(epsilon)
        kernel.weight_decay = Float(weightDecay)
        kernel.momentum = Float(momentum)
        kernel.centered = centered
        return kernel
    }

    func validate() throws(DeMLError) {
        try check("learning_rate", learningRate, learningRate >= 0)
        // torch takes 1 and more too, with which nothing is learned or the average has no root.
        try check("alpha", alpha, alpha >= 0 && Float(alpha) < 1)
        try check("epsilon", epsilon, epsilon >= 0)
        try check("weight_decay", weightDecay, weightDecay >= 0)
        try check("momentum", momentum, momentum >= 0)
        guard !centered || momentum == 0 else {
            throw DeMLError(.usage, "rmsprop is either centered or has a momentum", place: "optimizer")
        }
    }

    var values: [(key: String, value: OptimizerDescription.Value)] {
        [
            ("alpha", .number(alpha)), ("epsilon", .number(epsilon)), ("weight_decay", .number(weightDecay)),
            ("momentum", .number(momentum)),
        ] + (centered ? [("centered", .flag(true))] : [])
    }
}

extension OptimizerDescription {
    /// RMSprop with the options of torch.optim.RMSprop; weightDecay·p is added to the gradient.
    public static func rmsprop(
        learningRate: Double = 1e-2, alpha: Double = 0.99, epsilon: Double = 1e-8, weightDecay: Double = 0,
        momentum: Double = 0, centered: Bool = false
    ) -> OptimizerDescription {
        OptimizerDescription(
            RMSprop(
                learningRate: learningRate, alpha: alpha, epsilon: epsilon, weightDecay: weightDecay,
                momentum: momentum, centered: centered))
    }
}
