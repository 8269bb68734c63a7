import Tensors

/// log(exp(x)/Σexp(x)). Last layer only, as in torch's models that end with `nn.LogSoftmax` for `nn.NLLLoss`: the two
/// together are `cross_entropy`, which takes the logits before it. Predictions are probabilities, not their logarithms.
struct LogSoftmax: PlainLayer {
    static let type = "log_softmax"

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.lastOfClassifier()
        return LayerShapes(output: place.input)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    /// Nothing: logits go to the loss.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        x
    }
}

extension Layer {
    /// log(exp(x)/Σexp(x)). Last layer only: `cross_entropy` takes the logits before it.
    public static var logSoftmax: Layer { Layer(LogSoftmax()) }
}
