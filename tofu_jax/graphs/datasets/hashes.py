"""SHA-256 of published data, where the data were at hand.

FILES: of the files as they are published, by data set and name. Their bytes were put together again from a copy in which
line ends, columns or numbers may differ; length and end agree with those of the published file.
FACTS: of the facts, see `entry.facts_sha256`, by data set and part.
"""

FILES = {
    "DB15K/train.txt": "1631e7e8f7ab1a47fdc58634449b4be703c38f82dfaa68987f84cb9bc0cc9489",
    "DB15K/valid.txt": "3dea821944f2ef1d74ac8c12d2324889f0436238469695e7ef731fa02d3bffa5",
    "DB15K/test.txt": "606867e29976bb24698a902de774241d53a025d79531c20dcdd7d7d98da523ca",
    "DB15K/entities.txt": "f39c20a1da08892a59bd14e763e079938b58d72e08250c89f3f0b959daa21e4c",
    "DB15K/relations.txt": "bda85ba1ad61b6fccc98e7703496f028c7d56325cade689c6171b69c27bd1260",
    "DB15K/entity2id.txt": "e1e257f5850d0a3440a7020dc5c8af77664a60b69fa1869c45c2f20b8024020e",
    "DB15K/relation2id.txt": "bb002b2069d740a545dfa526c31bcd487aff0a5203db786f278e363c714f24ea",
    "MKG-W/train.txt": "3f1eb0fd545094ec40e2028228f3d0da0ef75779e0e17ccfae2ada3ee5f8b869",
    "MKG-W/valid.txt": "c1fc188a6c48867593f3fc4844b775459b7d5dfb61e048e6cf12e4f4c2b1cb37",
    "MKG-W/test.txt": "d93f66cf5411e18e9e9e7e2f82d601c3d79d4e9b0f184c832e4988ebaeb50472",
    "MKG-W/relations.txt": "de6c62d62060d127597b89ddcca5c676767fa6bc3f36e9e787690f1d14cf8901",
    "MKG-W/entity2id.txt": "805e2e9a9a8fff032e2caa17233d8ceaaf2356221c66d6ad3c17d31292d360f5",
    "MKG-W/relation2id.txt": "7035491ec0b2865e1220ec9491aafbcf3ff3d6c797816a0129735e0be9f2ea29",
    "WN18RR/train.txt": "038612e783c215ee5f3ca9fbfca27b8d0739be1028fe4ee7c174aecf0b83d5df",
    "WN18RR/valid.txt": "453ce7202afa58094a04d2b1560ee2b02660f1c260b32ce6651c8ccedd1028ab",
    "WN18RR/test.txt": "0383bceaaa1096cf3c03ec021ed0048068e2355dbfc0239b292cefdac821cec5",
    "CoDEx-S/train.txt": "64f93b7f314f3936a6f65739721429db3f6a7c8f5a1e1104ec3bb544f7434f59",
    "CoDEx-S/valid.txt": "3831c0e57daef03c3a18cdd1a72e370b496f696c5218883d35c7d2ab8a6a772c",
    "CoDEx-S/test.txt": "27127fcb34688c4778e88a39ef3c9b540807da846021e9d9685660ac1838aca1",
    "CoDEx-M/train.txt": "d99c3437ab51690391a26d96976adf6e5494dba7ef6902e77000551bfa566556",
    "CoDEx-M/valid.txt": "11c323096367354940846b9ed940c5dabddc1d20a70474222babe7e7fd28b28d",
    "CoDEx-M/test.txt": "0575ce05e4ce915e395bb4f708e8df9547989dd4c8c71407cbfd78c19daffcf7",
    "NELL-995/valid.txt": "9c02548083036fd7ccc4ccec649a633fc3a58c544a0d28496cd751c35fef23a8",
    "NELL-995/test.txt": "09984fa351609e449a4bef5dc45d8c358eb12e4e6aae4e11b9af9ba19b96e0ef",
    "WN9-IMG/train.txt": "f3f19b819a8c8db69dc3ab3132947b56e27217e6acdec9c1bf04ab07eca3cdf9",
    "WN9-IMG/valid.txt": "55fd468de1d8177299b89a7272a80b4dc6ba4772c09ef60990c26262f2f17e94",
    "WN9-IMG/test.txt": "5386b0361771cdfdbe684dc84bb2d19755a6d064370ce223b569bd01c5331339",
    "FB15k-237/valid.txt": "cf6309010852f6a8d47a45df830a426415d1ee6f7a3970a8376ff1fb81db4a5c",
    "FB15k-237/test.txt": "5711cf41623ceb4eacc50eb6108a3ca6565c7492e3caaf82a3e355cc660d1574",
}

FACTS = {
    "DB15K": {
        "training": "666c44f23bdcc968e65cec09a15b1493c50b5fe39538f48fc040b8c922da3f40",
    },
    "MKG-W": {
        "training": "b8f8c0079b075b2fa29f85aa90239ab3c1873e378b8e3da750ab63e26a1d3507",
    },
    "FB15k-237": {
        "training": "025a3141dd7cd9386d8c7bb89a00b3232f6d4d356d8d2cebce2d0fc573cf6810",
    },
    "WN18RR": {
        "training": "4d885dfb9659831e89f35343e839eebca6e2f331515e60a9b354ce46ce9ef72a",
    },
    "CoDEx-S": {
        "training": "2b9881f23d4a245492a0b144b2c845add98f911aa9509e085ae6a60f58efd7c6",
    },
    "CoDEx-M": {
        "training": "8ea6852479b53ac1fe36cf06a6af089e676b360dcab2cc65a2a13aab1d984ab8",
    },
    "NELL-995": {
        "training": "dc75e9f00662b175d746d884afcf25a4a97d430d26835e24b60c55d1a97e6b91",
    },
    "WN9-IMG": {
        "training": "a7367075dcca4261c472d02e3212e9d4d975e43770acca9795bfd9c53a74c1d0",
    },
    "WN18RR_v1": {
        "training": "8cfa7b0ceeeb956d6d7231d57c524b675705b7a211b4b8aec6fadc5562a24a82",
        "inference": "6b76ee72c919f8e457745e0e06bc21b73edfa14d332e78cda6c0d83a560a20e4",
    },
    "WN18RR_v2": {
        "training": "7ec60a6e9491fe3c2995cb23adf7d46d9da8f66e1647c9d43bf18295b6652469",
        "inference": "3288c4f1c86adee5de9176c1138cd6407fa69c47e69ee89e9083e7887932472f",
    },
    "WN18RR_v3": {
        "training": "5d7dbcea34f6a80c0f6fb97779177fb423b139f36d79f59cab98dcdb70a5cf65",
        "inference": "f2052a97546442488aa3a23ce17ecb6cdbcbf284e11705661f428e12327fcde6",
    },
    "WN18RR_v4": {
        "training": "fe35a4a55af4bd60f9419b497fc19e850a90e423953181ce35771e3ffcfbddad",
        "inference": "b178a4100b3f9fefffd2df2d2206faa39432e373d6e97c31d67a12b2dae17cdb",
    },
    "fb237_v1": {
        "training": "d1cb45e54857c81d5d2c3130c2c4fec9ac443e141ac7fd82fbe8aaba8713db50",
        "inference": "7e324f6302c7192e976afbb9366108f7b1a82154f1bcb6c06e175d551f276191",
    },
    "fb237_v2": {
        "training": "ae8a86d72e6ff868d2ecd7fa02e65fbfc94041fd71e901a440427e7c2b1a86bb",
        "inference": "c85512c95ec6c1b7e5d1cb25cabad039ab40f937d2f7787c36240893a73362ca",
    },
    "fb237_v3": {
        "training": "cece1f74561f9a22b1c3f6f3b5bba60d93a3aa68a515f6d34c50f033213f9016",
        "inference": "f624d39b80f0eda4586ffcca310573d44d8d9aa27aba640375443dbbfc345afc",
    },
    "fb237_v4": {
        "training": "0f279289b5b1edb97427d7a58801a7d55436e5b043e0a0733a20a1d550075e56",
        "inference": "ad61973e02c6c9e3c8435cb7febe2870ea33b7c00fe33015ba0e7e2764fef50b",
    },
    "nell_v1": {
        "training": "044c18428391ef51c21ec2d864032f0d83356e199d6c01f47c19b0496915fa22",
    },
    "nell_v2": {
        "training": "7a6847d854e7641cc3fd35fd0fbca6e80f8e4a6cc9bf2f538d13ed7f58ffe8e8",
    },
    "nell_v3": {
        "training": "4e28b96455b2687ac053f2a5c2d26eee09318c444c32e8c3e67f932e8be83ac8",
    },
    "nell_v4": {
        "training": "b5a3ac89541c0b23a343c07b105a87bd411928fee5c678022218759fc1b89987",
    },
}
