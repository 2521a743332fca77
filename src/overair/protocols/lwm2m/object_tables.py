"""The object tables as data (spec lwm2m.md 7, 8.1, 8.9, 9; device-record.md 3.5 for object 19).

One object: (id, name, rows); one row: id, operations, type, name. A `*` after the operations marks a
resource with several instances; operations `-` mean that only bootstrap may touch it.
"""

TABLES: tuple[tuple[int, str, str], ...] = (
    (
        0,
        "Security",
        """
        0 - string Server URI
        1 - boolean Bootstrap-Server
        2 - integer Security Mode
        3 - opaque Public Key or Identity
        4 - opaque Server Public Key
        5 - opaque Secret Key
        6 - integer SMS Security Mode
        7 - opaque SMS Binding Key Parameters
        8 - opaque SMS Binding Secret Keys
        9 - string Server SMS Number
        10 - integer Short Server ID
        11 - integer Client Hold Off Time
        12 - integer Bootstrap-Server Account Timeout
        13 - unsigned Matching Type
        14 - string SNI
        15 - unsigned Certificate Usage
        16 -* unsigned DTLS/TLS Ciphersuite
        17 - objlnk OSCORE Security Mode
        18 -* unsigned Groups To Use by Client
        19 -* unsigned Signature Algorithms Supported by Server
        20 -* unsigned Signature Algorithms To Use by Client
        21 -* unsigned Signature Algorithm Certs Supported by Server
        22 - unsigned TLS 1.3 Features To Use by Client
        23 - unsigned TLS Extensions Supported by Server
        24 - unsigned TLS Extensions To Use by Client
        25 -* string Secondary LwM2M Server URI
        26 - objlnk MQTT Server
        27 - objlnk LwM2M COSE
        28 - unsigned RDS Destination Port
        29 - unsigned RDS Source Port
        30 - string RDS Application ID
        """,
    ),
    (
        1,
        "Server",
        """
        0 R integer Short Server ID
        1 RW integer Lifetime
        2 RW integer Default Minimum Period
        3 RW integer Default Maximum Period
        4 E none Disable
        5 RW integer Disable Timeout
        6 RW boolean Notification Storing
        7 RW string Binding
        8 E none Registration Update Trigger
        9 E none Bootstrap-Request Trigger
        10 RW objlnk APN Link
        11 R unsigned TLS-DTLS Alert Code
        12 R time Last Bootstrapped
        13 R unsigned Registration Priority Order
        14 RW unsigned Initial Registration Delay Timer
        15 R boolean Registration Failure Block
        16 R boolean Bootstrap on Registration Failure
        17 RW unsigned Communication Retry Count
        18 RW unsigned Communication Retry Timer
        19 RW unsigned Communication Sequence Delay Timer
        20 RW unsigned Communication Sequence Retry Count
        21 RW boolean Trigger
        22 RW string Preferred Transport
        23 RW boolean Mute Send
        24 RW* objlnk Alternate APN Links
        25 RW* string Supported Server Versions
        26 RW integer Default Notification Mode
        27 RW unsigned Profile ID Hash Algorithm
        """,
    ),
    (
        2,
        "Access Control",
        """
        0 R integer Object ID
        1 R integer Object Instance ID
        2 RW* integer ACL
        3 RW integer Access Control Owner
        """,
    ),
    (
        3,
        "Device",
        """
        0 R string Manufacturer
        1 R string Model Number
        2 R string Serial Number
        3 R string Firmware Version
        4 E none Reboot
        5 E none Factory Reset
        6 R* integer Available Power Sources
        7 R* integer Power Source Voltage
        8 R* integer Power Source Current
        9 R integer Battery Level
        10 R integer Memory Free
        11 R* integer Error Code
        12 E none Reset Error Code
        13 RW time Current Time
        14 RW string UTC Offset
        15 RW string Timezone
        16 R string Supported Binding and Modes
        17 R string Device Type
        18 R string Hardware Version
        19 R string Software Version
        20 R integer Battery Status
        21 R integer Memory Total
        22 R* objlnk ExtDevInfo
        """,
    ),
    (
        4,
        "Connectivity Monitoring",
        """
        0 R integer Network Bearer
        1 R* integer Available Network Bearer
        2 R integer Radio Signal Strength
        3 R integer Link Quality
        4 R* string IP Addresses
        5 R* string Router IP Addresses
        6 R integer Link Utilization
        7 R* string APN
        8 R integer Cell ID
        9 R integer SMNC
        10 R integer SMCC
        11 R integer SignalSNR
        12 R integer LAC
        13 R integer Coverage Enhancement Level
        """,
    ),
    (
        5,
        "Firmware Update",
        """
        0 W opaque Package
        1 RW string Package URI
        2 E none Update
        3 R integer State
        5 R integer Update Result
        6 R string PkgName
        7 R string PkgVersion
        8 R* integer Firmware Update Protocol Support
        9 R integer Firmware Update Delivery Method
        10 E none Cancel
        11 RW integer Severity
        12 R time Last State Change Time
        13 RW unsigned Maximum Defer Period
        14 RW boolean Automatic Upgrade at Download
        """,
    ),
    (
        6,
        "Location",
        """
        0 R float Latitude
        1 R float Longitude
        2 R float Altitude
        3 R float Radius
        4 R opaque Velocity
        5 R time Timestamp
        6 R float Speed
        """,
    ),
    (
        7,
        "Connectivity Statistics",
        """
        0 R integer SMS Tx Counter
        1 R integer SMS Rx Counter
        2 R integer Tx Data
        3 R integer Rx Data
        4 R integer Max Message Size
        5 R integer Average Message Size
        6 E none Start
        7 E none Stop
        8 RW integer Collection Period
        """,
    ),
    (
        9,
        "Software Management",
        """
        0 R string PkgName
        1 R string PkgVersion
        2 W opaque Package
        3 W string Package URI
        4 E none Install
        5 R objlnk Checkpoint
        6 E none Uninstall
        7 R integer Update State
        8 RW boolean Update Supported Objects
        9 R integer Update Result
        10 E none Activate
        11 E none Deactivate
        12 R boolean Activation State
        13 RW objlnk Package Settings
        14 W string User Name
        15 W string Password
        16 R string Status Reason
        17 R* objlnk Software Component Link
        18 R integer Software Component tree length
        """,
    ),
    (
        10,
        "Cellular Connectivity",
        """
        0 RW string SMSC address
        1 RW integer Disable radio period
        2 RW string Module activation code
        3 R objlnk Vendor specific extensions
        4 RW integer PSM Timer
        5 RW integer Active Timer
        6 R integer Serving PLMN Rate control
        7 RW opaque eDRX parameters for Iu mode
        8 RW opaque eDRX parameters for WB-S1 mode
        9 RW opaque eDRX parameters for NB-S1 mode
        10 RW opaque eDRX parameters for A/Gb mode
        11 R* objlnk Activated Profile Names
        12 R unsigned Supported Power Saving Modes
        13 RW unsigned Active Power Saving Modes
        14 RW unsigned Release Assistance Indication Usage
        """,
    ),
    (
        11,
        "APN Connection Profile",
        """
        0 RW string Profile name
        1 RW string APN
        2 RW boolean Auto select APN by device
        3 RW boolean Enable status
        4 RW integer Authentication Type
        5 RW string User Name
        6 RW string Secret
        13 R integer Total bytes sent
        14 R integer Total bytes received
        15 R* string IP address
        22 R objlnk Vendor specific extensions
        24 RW integer PDN Type
        """,
    ),
    (
        14,
        "Software Component",
        """
        0 R string Component Identity
        1 R opaque Component Pack
        2 R string Component Version
        3 E none Activate
        4 E none Deactivate
        5 R boolean Activation State
        """,
    ),
    (
        16,
        "Portfolio",
        """
        0 RW* string Identity
        1 E none GetAuthData
        2 R* opaque AuthData
        3 R* integer AuthStatus
        """,
    ),
    (
        19,
        "BinaryAppDataContainer",
        """
        0 RW* opaque Data
        2 RW time Data Creation Time
        3 RW string Data Description
        """,
    ),
    (
        20,
        "Event Log",
        """
        4010 RW integer LogClass
        4011 E none LogStart
        4012 E none LogStop
        4013 R integer LogStatus
        4014 R opaque LogData
        4015 RW integer LogDataFormat
        4016 R opaque LogDataIncremental
        4017 RW integer Minimum Send Interval
        """,
    ),
    (
        3351,
        "powerupLog",
        """
        2 R string IMEI
        3 R string IMSI
        4 R string MSISDN
        """,
    ),
    (
        3412,
        "LPWAN Communication",
        """
        21 R string IMSI
        22 R string IMEI
        24 R string ICCID
        """,
    ),
    (
        10241,
        "HostDeviceInfo",
        """
        5905 R* string Host Device Manufacturer
        5906 R* string Host Device Model Number
        5907 R* string Host Device Unique ID
        5908 R* string Host Device Software Version
        """,
    ),
    (
        10299,
        "HostDevice",
        """
        0 R string Manufacturer
        1 R string Model
        2 R string UniqueID
        3 R string FirmwareVersion
        4 R string SoftwareVersion
        5 R string HardwareVersion
        6 R string DateStamp
        """,
    ),
    (
        10308,
        "AT&T Connectivity Extension",
        """
        1 R string ICCID
        2 R string IMSI
        3 RW string MSISDN
        """,
    ),
    (
        10330,
        "Network Info",
        """
        1 R string IMEI
        2 R string IMSI
        """,
    ),
    (
        33629,
        "Advanced Firmware Update",
        """
        0 W opaque Package
        1 RW string Package URI
        2 E none Update
        3 R integer State
        5 R integer Update Result
        6 R string PkgName
        7 R string PkgVersion
        8 R* integer Firmware Update Protocol Support
        9 R integer Firmware Update Delivery Method
        10 E none Cancel
        11 RW integer Severity
        12 R time Last State Change Time
        13 RW unsigned Maximum Defer Period
        14 R string Component Name
        15 R string Current Version
        16 R* objlnk Linked Instances
        17 R* objlnk Conflicting Instances
        """,
    ),
)
