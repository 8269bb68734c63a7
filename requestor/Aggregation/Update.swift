import Tensors

/// What one client has learned in a round: its weights minus the round's weights, all parameters in the order of the
/// model, one after the other.
public struct Update: Sendable {
    /// Number of the client.
    public var client: Int
    /// Examples of the client's shard: its weight in the average.
    public var examples: Int
    /// The share of its training that the client has done, by optimiser steps: 1, or less where partial work is allowed.
    public var workDone: Double
    /// One value a parameter.
    public let values: [Float]
    /// Euclidean norm of ``values``; NaN or infinite when a value is.
    public let norm: Double

    /// Shapes: values `[parameters]`.
    public init(client: Int, examples: Int, values: [Float], workDone: Double = 1) {
        self.client = client
        self.examples = examples
        self.workDone = workDone
        self.values = values
        norm = values.squaredNorm.squareRoot()
    }

    /// Refuses what must not enter an average: values that are not finite, a wrong number of them, a norm above the limit.
    public func check(parameters: Int, maximumNorm: Double?) throws(DeMLError) {
        guard values.count == parameters else {
            throw DeMLError(.shape, "the delta has \(values.count) values, the model has \(parameters) parameters")
        }
        guard norm.isFinite else {
            throw DeMLError(.notFinite, "the delta contains NaN or infinity", hint: "a smaller learning rate may help")
        }
        if let maximumNorm, norm > maximumNorm {
            throw DeMLError(.outOfRange, "the delta's norm \(norm) is above the limit \(maximumNorm)")
        }
        guard examples > 0 else { throw DeMLError(.outOfRange, "the delta stands for no examples") }
        guard workDone > 0, workDone <= 1 else {
            throw DeMLError(.outOfRange, "the delta stands for \(workDone) of its training")
        }
    }
}

extension [Float] {
    /// Sum of squares in float64: eight chains over the indices modulo 8, added in a fixed order, so that the same values
    /// give the same bits everywhere. NaN or infinite when an element is.
    package var squaredNorm: Double {
        withUnsafeBytes { bytes in
            var chains = SIMD8<Double>()
            let whole = count / 8 * 8
            for index in stride(from: 0, to: whole, by: 8) {
                let values = SIMD8<Double>(bytes.loadUnaligned(fromByteOffset: index * 4, as: SIMD8<Float>.self))
                chains += values * values
            }
            var sum = 0.0
            for lane in 0..<8 { sum += chains[lane] }
            for index in whole..<count {
                let value = Double(self[index])
                sum += value * value
            }
            return sum
        }
    }
}
