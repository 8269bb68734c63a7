/// FedAvgM: the averaged delta is taken as a gradient, and the server steps along it with momentum.
///
/// Hsu, Qi, Brown: "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019,
/// section 4.3; Nesterov's form as in Sutskever et al. 2013 and PyTorch's SGD.
///
///     v ← momentum · v + average
///     w ← w + learningRate · v                                  plain
///     w ← w + learningRate · (average + momentum · v)           Nesterov
///
/// Without momentum this is plain averaging with a server learning rate; with learning rate 1 it is FedAvg. All in float64,
/// rounded once into the weights.
public struct ServerMomentum: ServerOptimizer {
    /// Above 0; 1 in FedAvg.
    public var learningRate: Double
    /// From 0 to below 1; 0 means none. The paper takes 0.9.
    public var momentum: Double
    public var isNesterov: Bool
    /// `v` above, `[parameters]`; empty before the first step and without momentum.
    public private(set) var velocity: [Double] = []

    public init(learningRate: Double = 1, momentum: Double = 0, isNesterov: Bool = false) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.isNesterov = isNesterov
    }

    public mutating func step(_ weights: inout [Float], average: [Double]) {
        precondition(weights.count == average.count, "one averaged value a weight")
        guard momentum > 0 else {
            move(&weights, by: average)
            return
        }
        if velocity.isEmpty { velocity = [Double](repeating: 0, count: average.count) }
        for index in velocity.indices {
            velocity[index] = momentum * velocity[index] + average[index]
        }
        if isNesterov {
            var direction = average
            for index in direction.indices { direction[index] += momentum * velocity[index] }
            move(&weights, by: direction)
        } else {
            move(&weights, by: velocity)
        }
    }

    private func move(_ weights: inout [Float], by direction: [Double]) {
        for index in weights.indices {
            weights[index] = Float(Double(weights[index]) + learningRate * direction[index])
        }
    }

    public var state: [String: [Double]] {
        get { velocity.isEmpty ? [:] : ["velocity": velocity] }
        set { velocity = newValue["velocity"] ?? [] }
    }
}
