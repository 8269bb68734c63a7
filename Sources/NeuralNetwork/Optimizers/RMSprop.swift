import CKernels
import Tensors

/// Tieleman and Hinton, "Lecture 6.5: RMSprop", 2012, in the form of torch.optim.RMSprop without `centered`.
///
/// g ← gradient + weightDecay·p; v ← alpha·v + (1-alpha)·g²; s = g/(√v + ε);
/// p ← p - learningRate·s, or with momentum b ← momentum·b + s; p ← p - learningRate·b.
struct RMSprop: Optimizer {
    static let type = "rmsprop"
    static let options = ["alpha", "epsilon", "weight_decay", "momentum"]
    static let standardLearningRate = 1e-2

    var learningRate: Double
    var alpha: Double
    var epsilon: Double
    var weightDecay: Double
    var momentum: Double

    init(learningRate: Double, alpha: Double, epsilon: Double, weightDecay: Double, momentum: Double) {
        self.learningRate = learningRate
        self.alpha = alpha
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.momentum = momentum
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        self.init(
            learningRate: learningRate, alpha: try given.number("alpha") ?? 0.99,
            epsilon: try given.number("epsilon") ?? 1e-8, weightDecay: try given.number("weight_decay") ?? 0,
            momentum: try given.number("momentum") ?? 0)
    }

    var stateNames: [String] { momentum == 0 ? ["square_avg"] : ["square_avg", "momentum_buffer"] }

    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.kind = DEML_RMSPROP
        kernel.learning_rate = Float(learningRate)
        kernel.beta2 = Float(alpha)
        kernel.epsilon = Float(epsilon)
        kernel.weight_decay = Float(weightDecay)
        kernel.momentum = Float(momentum)
        return kernel
    }

    func validate() throws(DeMLError) {
        try check("learning_rate", learningRate, learningRate >= 0)
        // torch takes 1 and more too, with which nothing is learned or the average has no root.
        try check("alpha", alpha, alpha >= 0 && Float(alpha) < 1)
        try check("epsilon", epsilon, epsilon >= 0)
        try check("weight_decay", weightDecay, weightDecay >= 0)
        try check("momentum", momentum, momentum >= 0)
    }

    var values: [(key: String, value: OptimizerDescription.Value)] {
        [
            ("alpha", .number(alpha)), ("epsilon", .number(epsilon)), ("weight_decay", .number(weightDecay)),
            ("momentum", .number(momentum)),
        ]
    }
}

extension OptimizerDescription {
    /// RMSprop with the options of torch.optim.RMSprop; weightDecay·p is added to the gradient.
    public static func rmsprop(
        learningRate: Double = 1e-2, alpha: Double = 0.99, epsilon: Double = 1e-8, weightDecay: Double = 0,
        momentum: Double = 0
    ) -> OptimizerDescription {
        OptimizerDescription(
            RMSprop(
                learningRate: learningRate, alpha: alpha, epsilon: epsilon, weightDecay: weightDecay,
                momentum: momentum))
    }
}
