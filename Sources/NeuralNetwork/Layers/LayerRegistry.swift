/// The layers there are: one line each. Nothing else in the tree lists them.
enum LayerRegistry {
    static let types: [any LayerDefinition.Type] = [
        Linear.self,
        Conv2d.self,
        MaxPool2d.self,
        AveragePool2d.self,
        GlobalAveragePool2d.self,
        Flatten.self,
        ReLU.self,
        LeakyReLU.self,
        GELU.self,
        Tanh.self,
        Sigmoid.self,
        SiLU.self,
        Dropout.self,
        LayerNorm.self,
        GroupNorm.self,
        Residual.self,
        Softmax.self,
    ]

    private static let byName = Dictionary(uniqueKeysWithValues: types.map { ($0.type, $0) })

    static func type(named name: String) -> (any LayerDefinition.Type)? { byName[name] }
}
