import Tensors

/// What the backward pass of a normalisation needs of the forward pass.
struct NormStatistics {
    /// [rows]
    let mean: UnsafeMutablePointer<Float>
    /// [rows]: 1/√(variance + ε).
    let reciprocal: UnsafeMutablePointer<Float>
    /// Takes the input's gradient where nobody asks for it.
    let spare: UnsafeMutablePointer<Float>?

    init(rowsPerExample: Int, of x: Activations, in network: NetworkBuilder) throws(DeMLError) {
        let needsSpare = x.gradient == nil && !network.purpose.isInference
        mean = try network.array(perExample: rowsPerExample, for: .activations)
        reciprocal = try network.array(perExample: rowsPerExample, for: .activations)
        spare = needsSpare ? try network.array(perExample: x.size, for: .gradients) : nil
    }
}

extension LayerPlace {
    /// γ = 1 and β = 0 at the start.
    func scaleAndShift(_ shape: [Int], bias: Bool) -> [ParameterDescription] {
        let weight = ParameterDescription(name: "\(name).weight", shape: shape, initialization: .constant(1))
        return bias
            ? [weight, ParameterDescription(name: "\(name).bias", shape: shape, initialization: .constant(0))]
            : [weight]
    }

    func check(epsilon: Double) throws(DeMLError) {
        guard epsilon > 0, Float(epsilon) > 0, Float(epsilon).isFinite else {
            throw DeMLError(.outOfRange, "eps \(epsilon) is not a positive number")
        }
    }
}
