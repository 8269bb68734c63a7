import Foundation
import NeuralNetwork

/// The activations that there are, as functions of one number.
enum Activation {
    /// What the layer makes of one number; nil for a layer that is no such function.
    static func value(_ layer: LayerSketch, _ x: Double) -> Double? {
        func option(_ key: String, _ standard: Double) -> Double { layer.options[key]?.double ?? standard }
        func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
        switch layer.type {
        case "identity": return x
        case "relu": return max(x, 0)
        case "relu6": return min(max(x, 0), 6)
        case "leaky_relu": return x > 0 ? x : option("negative_slope", 0.01) * x
        case "sigmoid": return sigmoid(x)
        case "tanh": return tanh(x)
        case "silu": return x * sigmoid(x)
        case "hard_sigmoid": return min(max(x / 6 + 0.5, 0), 1)
        case "hard_swish": return x * min(max(x + 3, 0), 6) / 6
        case "elu": return x > 0 ? x : option("alpha", 1) * (exp(x) - 1)
        case "softplus":
            let beta = option("beta", 1)
            return beta * x > 20 ? x : log(1 + exp(beta * x)) / beta
        case "gelu":
            guard layer.options["approximate"] != nil else { return x / 2 * (1 + erf(x / 2.0.squareRoot())) }
            return x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        default: return nil
        }
    }

    private static let points: [Double] =
        (-60...60).map { Double($0) / 10 + 0.013 } + [-30, -12.5, -8.3, 8.3, 12.5, 30, 0]

    /// The activation that a function is; `identity` for none at all; nil for another function.
    static func matching(_ function: (Double) -> Double?) -> LayerSketch? {
        guard let atZero = function(0), let far = function(-30), let near = function(-1), atZero.isFinite, near.isFinite
        else {
            return nil
        }
        var candidates: [LayerSketch] = [
            "identity", "relu", "relu6", "sigmoid", "tanh", "silu", "hard_sigmoid", "hard_swish",
        ]
        .map { LayerSketch($0) }
        candidates += [LayerSketch("gelu"), LayerSketch("gelu", ["approximate": .text("tanh")]), LayerSketch("elu")]
        func short(_ value: Double) -> JSONTree { .number((value * 1e6).rounded() / 1e6) }
        if far < 0 {
            // A slope of 1 would be nothing at all, or an ε.
            if abs(near + 1) > 1e-4 { candidates.append(LayerSketch("leaky_relu", ["negative_slope": short(-near)])) }
            candidates.append(LayerSketch("elu", ["alpha": short(-far)]))
        }
        if atZero > 0 {
            let beta = log(2) / atZero
            candidates.append(
                abs(beta - 1) < 1e-6 ? LayerSketch("softplus") : LayerSketch("softplus", ["beta": short(beta)]))
        }
        return candidates.first { layer in
            points.allSatisfy { x in
                guard let ours = value(layer, x), let theirs = function(x) else { return false }
                // Nothing at all is nothing: an ε that is added stays.
                return abs(ours - theirs) <= (layer.type == "identity" ? 1e-12 : 3e-6) * (1 + abs(ours))
            }
        }
    }
}
