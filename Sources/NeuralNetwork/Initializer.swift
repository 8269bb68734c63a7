import Tensors

/// Weights before training, as torch draws them by default, from our own counter-based generator: the same on every
/// machine.
public enum Initializer {
    /// The weights file of a new model: round 0.
    public static func initialWeights(for model: ModelDescription, seed: UInt64) -> Safetensors {
        weights(for: model, seed: seed).safetensors()
    }

    /// Parameter number `n` (in state_dict order) takes the stream (seed, "initialization", n); element `i` is
    /// (2u - 1)·bound with the stream's `i`-th word as u in [0, 1), or the stream's `i`-th normal variate.
    public static func weights(for model: ModelDescription, seed: UInt64) -> Weights {
        var values: [Float] = []
        values.reserveCapacity(model.parameterCount)
        for (number, parameter) in model.parameters.enumerated() {
            let generator = SeededGenerator(seed: seed, purpose: "initialization", UInt32(number))
            func appendUniform(_ bound: Float) {
                var generator = generator
                for _ in 0..<parameter.count {
                    values.append((2 * generator.uniformFloat() - 1) * bound)
                }
            }
            switch parameter.initialization {
            case .constant(let value):
                values.append(contentsOf: repeatElement(value, count: parameter.count))
            case .uniform(let fanIn):
                appendUniform(Float(1 / Double(fanIn).squareRoot()))
            case .bounded(let bound):
                appendUniform(bound)
            case .normal(let deviation, let zeros):
                var generator = generator
                for index in 0..<parameter.count {
                    let value = Float(generator.normal()) * deviation
                    values.append(zeros?.contains(index) == true ? 0 : value)
                }
            }
        }
        return Weights(unchecked: model, round: 0, values)
    }
}
