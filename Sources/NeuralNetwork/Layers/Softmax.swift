import Tensors

/// exp(x)/Σexp(x). Last layer only, for predictions: `cross_entropy` takes the logits before it, as in torch.
struct Softmax: PlainLayer {
    static let type = "softmax"

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard place.isLast else {
            throw DeMLError(
                .mismatch, "softmax may only be the last layer", hint: "cross_entropy takes the logits itself")
        }
        guard place.input.count == 1 else {
            throw DeMLError(.shape, "softmax needs an input of shape [classes], but it is \(place.input)")
        }
        guard place.loss == .crossEntropy else {
            throw DeMLError(.mismatch, "softmax is for models whose loss is cross_entropy")
        }
        return LayerShapes(output: place.input)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    /// Nothing: logits go to the loss, and predictions take the softmax of them in any case.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        x
    }
}

extension Layer {
    /// exp(x)/Σexp(x). Last layer only, for predictions: `cross_entropy` takes the logits before it, as in torch.
    public static var softmax: Layer { Layer(Softmax()) }
}
