/// The layers there are: one line each. Nothing else in the tree lists them.
enum LayerRegistry {
    static let types: [any LayerDefinition.Type] = [
        Linear.self,
        TiedLinear.self,
        Embedding.self,
        PositionalEmbedding.self,
        Attention.self,
        LSTM.self,
        GRU.self,
        Conv2d.self,
        Conv1d.self,
        ConvTranspose2d.self,
        MaxPool2d.self,
        AveragePool2d.self,
        GlobalAveragePool2d.self,
        AdaptiveAveragePool2d.self,
        Upsample.self,
        Pad.self,
        Flatten.self,
        ReLU.self,
        LeakyReLU.self,
        GELU.self,
        Tanh.self,
        Sigmoid.self,
        SiLU.self,
        ReLU6.self,
        HardSigmoid.self,
        HardSwish.self,
        ELU.self,
        Softplus.self,
        Dropout.self,
        Rescaling.self,
        BatchNorm.self,
        LayerNorm.self,
        RMSNorm.self,
        GroupNorm.self,
        Residual.self,
        Concat.self,
        Gate.self,
        Softmax.self,
        LogSoftmax.self,
    ]

    private static let byName = Dictionary(uniqueKeysWithValues: types.map { ($0.type, $0) })

    static func type(named name: String) -> (any LayerDefinition.Type)? { byName[name] }
}
