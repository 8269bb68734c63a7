import Tensors

/// exp(x)/Σexp(x). Last layer only, for predictions: `cross_entropy` takes the logits before it, as in torch.
struct Softmax: PlainLayer {
    static let type = "softmax"

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.lastOfClassifier()
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

extension LayerPlace {
    /// Refuses a layer that says what becomes of logits anywhere but behind the logits of a classifier.
    func lastOfClassifier() throws(DeMLError) {
        guard isLast else {
            throw DeMLError(
                .mismatch, "\(type) may only be the last layer", hint: "cross_entropy takes the logits itself")
        }
        guard input.count <= 2 else {
            throw DeMLError(
                .shape, "\(type) needs an input of shape [classes], or [tokens, classes], but it is \(input)")
        }
        guard loss == .crossEntropy else {
            throw DeMLError(.mismatch, "\(type) is for models whose loss is cross_entropy")
        }
    }
}

extension Layer {
    /// exp(x)/Σexp(x). Last layer only, for predictions: `cross_entropy` takes the logits before it, as in torch.
    public static var softmax: Layer { Layer(Softmax()) }
}
