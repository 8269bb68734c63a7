import CKernels
import Tensors

/// Kingma and Ba, "Adam: a method for stochastic optimization", 2015 (arXiv 1412.6980), in the form of torch.optim.Adam.
///
/// g ← gradient + weightDecay·p; m ← m + (1-β₁)(g - m); v ← β₂·v + (1-β₂)·g²;
/// p ← p - learningRate/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε), where t counts steps from 1.
struct Adam: Optimizer {
    static let type = "adam"
    static let options = ["betas", "epsilon", "weight_decay"]
    static let stateNames = ["exp_avg", "exp_avg_sq"]

    var learningRate: Double
    var betas: (Double, Double)
    var epsilon: Double
    var weightDecay: Double

    init(learningRate: Double, betas: (Double, Double), epsilon: Double, weightDecay: Double) {
        self.learningRate = learningRate
        self.betas = betas
        self.epsilon = epsilon
        self.weightDecay = weightDecay
    }

    init(learningRate: Double, _ given: OptimizerOptions) throws(DeMLError) {
        self.init(
            learningRate: learningRate, betas: try given.pair("betas") ?? (0.9, 0.999),
            epsilon: try given.number("epsilon") ?? 1e-8, weightDecay: try given.number("weight_decay") ?? 0)
    }

    var stateNames: [String] { Self.stateNames }

    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.kind = DEML_ADAM
        kernel.learning_rate = Float(learningRate)
        kernel.beta1 = Float(betas.0)
        kernel.beta2 = Float(betas.1)
        kernel.epsilon = Float(epsilon)
        kernel.weight_decay = Float(weightDecay)
        return kernel
    }

    func validate() throws(DeMLError) {
        try check("learning_rate", learningRate, learningRate >= 0)
        try check("betas", betas.0, betas.0 >= 0 && Float(betas.0) < 1)
        try check("betas", betas.1, betas.1 >= 0 && Float(betas.1) < 1)
        try check("epsilon", epsilon, epsilon >= 0)
        try check("weight_decay", weightDecay, weightDecay >= 0)
    }

    var values: [(key: String, value: OptimizerDescription.Value)] {
        [("betas", .pair(betas.0, betas.1)), ("epsilon", .number(epsilon)), ("weight_decay", .number(weightDecay))]
    }

    static func == (left: Adam, right: Adam) -> Bool {
        left.learningRate == right.learningRate && left.betas == right.betas && left.epsilon == right.epsilon
            && left.weightDecay == right.weightDecay
    }
}

extension OptimizerDescription {
    /// Adam with the options of torch.optim.Adam; weightDecay·p is added to the gradient.
    public static func adam(
        learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8,
        weightDecay: Double = 0
    ) -> OptimizerDescription {
        OptimizerDescription(
            Adam(learningRate: learningRate, betas: betas, epsilon: epsilon, weightDecay: weightDecay))
    }
}
